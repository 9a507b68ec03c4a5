use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::engine::Engine;

/// A minimal Debian with Puma, by debootstrap.
const BASE: &str = "thrust-test-base";
/// `BUILD_IMAGE`: its cargo installs the executables under test.
const BUILD: &str = "thrust-test-build";
/// `RUNTIME_IMAGE`: an image with an app in it.
const APP: &str = "thrust-test-app";
/// As every image of a distribution has it; what debootstrap makes has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The Dockerfile's image, upon the app's, built once.
pub(crate) const PRODUCT: &str = "thrust-test-product";
/// The Dockerfile's image, upon nothing, built twice: its default.
pub(crate) const EMPTY: &str = "thrust-test-empty";

/// All of them.
pub(crate) fn build(engine: &Engine) {
    engine.tell(&["import", base().to_str().unwrap(), BASE]);
    let executable = Path::new(env!("CARGO_BIN_EXE_thrust"));
    let context = Context::new(&format!(
        "FROM {BASE}\nENV TIMES=1\nCOPY . /usr/local/bin/\n\
         RUN chmod +x /usr/local/bin/* && install -Dt /usr/local/lib/rustlib/host/bin /usr/local/bin/llvm-profdata\n"
    ));
    context.copy(executable);
    context.copy(Path::new(env!("CARGO_BIN_EXE_thrustctl")));
    context.copy(&executable.with_file_name("examples").join("practice"));
    // Compiling takes minutes, and a network: the tools do as if, and what is practised with is the executable under test.
    context.write("cargo", include_str!("cargo.sh"));
    context.write("rustc", include_str!("rustc.sh"));
    context.write("llvm-profdata", include_str!("llvm-profdata.sh"));
    engine.build(BUILD, &context.0, &[]);

    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = Context::new(&format!(
        "FROM {BASE}\nENV PATH={PATH}\nWORKDIR /rails\nCOPY . ./\n\
         RUN chmod +x rails upstream && mkdir bin && mv rails bin/ && mv upstream /usr/local/bin/\n"
    ));
    context.copy(&executable.with_file_name("examples").join("upstream"));
    for file in ["puma.rb", "config.ru"] {
        context.copy(&ours.join("examples/puma").join(file));
    }
    // What `bin/rails server` comes down to.
    context.write("rails", "#!/bin/sh\nexec puma -C /rails/puma.rb\n");
    engine.build(APP, &context.0, &[]);

    engine.build(
        PRODUCT,
        ours,
        &[("BUILD_IMAGE", BUILD), ("RUNTIME_IMAGE", APP), ("PGO", "0")],
    );
    engine.build(EMPTY, ours, &[("BUILD_IMAGE", BUILD)]);
}

/// What a `docker build` is given; gone when dropped.
struct Context(PathBuf);

impl Context {
    fn new(dockerfile: &str) -> Self {
        let path = scratch().join(format!("context-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let context = Self(path);
        context.write("Dockerfile", dockerfile);
        context
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn copy(&self, file: &Path) {
        fs::copy(file, self.0.join(file.file_name().unwrap())).unwrap();
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// This machine's own Debian, as small as it gets, in an archive: what was built here runs there. Takes a minute, once.
fn base() -> PathBuf {
    let (suite, mirror) = debian();
    let archive = scratch().join(format!("debian-{suite}-puma.tar"));
    if archive.exists() {
        return archive;
    }
    let root = scratch().join(format!("debian-{suite}-{}", std::process::id()));
    succeed(
        Command::new("debootstrap")
            .args(["--variant=minbase", "--include=puma,ruby-rack", &suite])
            .arg(&root)
            .arg(mirror),
    );
    // Under its name only once it is whole.
    let unfinished = root.with_extension("tar");
    succeed(
        Command::new("tar")
            .args(["--create", "--one-file-system", "--file"])
            .arg(&unfinished)
            .arg("--directory")
            .arg(&root)
            .arg("."),
    );
    fs::rename(&unfinished, &archive).unwrap();
    // Made by root, with modes of its own.
    let _ = fs::set_permissions(&root, fs::Permissions::from_mode(0o700));
    fs::remove_dir_all(&root).unwrap();
    archive
}

/// The suite that runs here, and from where apt has its packages.
fn debian() -> (String, String) {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.unwrap_or("bookworm").trim_matches('"');
    let targets = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(CODENAME) $(COMPONENT) $(REPO_URI)",
            "Created-By: Packages",
        ])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let mirror = targets
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{suite} main ")));
    (
        suite.to_owned(),
        mirror.unwrap_or("http://deb.debian.org/debian").to_owned(),
    )
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
