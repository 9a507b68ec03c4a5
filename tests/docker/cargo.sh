#!/bin/sh -e
# What the Dockerfile and benches/pgo/build ask of cargo, with executables that are there already.
what=$1
while [ $# -gt 0 ]; do
  case "$1" in
    --target-dir) dir=$2 ;;
    --root) root=$2 ;;
  esac
  shift
done
case "$what" in
  install) install -Dt "$root/bin" /usr/local/bin/thrust /usr/local/bin/thrustctl ;;
  build)
    install -Dt "$dir/host/release" /usr/local/bin/thrust /usr/local/bin/thrustctl
    install -Dt "$dir/host/release/examples" /usr/local/bin/practice
    ;;
  *) exit 1 ;;
esac
