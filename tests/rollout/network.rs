use std::{
    env,
    fs::File,
    io,
    os::fd::AsRawFd,
    process::{self, Command},
    thread,
};

/// A network namespace without a name: it goes with the last descriptor, thread and process that holds it.
#[derive(Debug)]
pub(crate) struct Namespace(File);

/// A machine of the cluster: pods are plugged into its bridge. No packet leaves it.
#[derive(Debug)]
pub(crate) struct Node(Namespace);

impl Namespace {
    fn new() -> io::Result<Self> {
        let made = thread::spawn(|| {
            // SAFETY: unshare(2) takes no pointer, and gives this thread alone a new network namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            ip("link set lo up")?;
            File::open("/proc/thread-self/ns/net")
        });
        made.join().unwrap().map(Self)
    }

    /// Runs `task` on a thread inside; processes that it spawns are inside, too.
    pub(crate) fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                task()
            });
            inside.join().unwrap()
        })
    }

    /// Moves this thread inside.
    fn enter(&self) {
        // SAFETY: setns(2) takes a descriptor that lives, and moves this thread alone.
        let entered = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(entered, 0, "setns: {}", io::Error::last_os_error());
    }

    /// As iproute2 takes it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

impl Node {
    /// The host part of its own address.
    pub(crate) const OWN: u8 = 1;

    pub(crate) fn or_skip() -> Option<Self> {
        match Self::new() {
            Ok(node) => Some(node),
            Err(error) if env::var_os("CI").is_some() => panic!("namespaces are needed: {error}"),
            Err(error) => {
                eprintln!("SKIPPED: needs root and iproute2: {error}");
                None
            }
        }
    }

    fn new() -> io::Result<Self> {
        let namespace = Namespace::new()?;
        namespace.run(|| {
            ip("link add bridge type bridge")?;
            ip(&format!("address add {}/24 dev bridge", address(Self::OWN)))?;
            ip("link set bridge up")
        })?;
        Ok(Self(namespace))
    }

    /// A network that is plugged in, with address `number`.
    pub(crate) fn plug_in(&self, number: u8) -> Namespace {
        let pod = Namespace::new().unwrap();
        self.run(|| {
            let (port, inside) = (format!("port{number}"), pod.path());
            ip(&format!(
                "link add {port} type veth peer name eth0 netns {inside}"
            ))?;
            ip(&format!("link set {port} master bridge up"))
        })
        .unwrap();
        pod.run(|| {
            ip(&format!("address add {}/24 dev eth0", address(number)))?;
            ip("link set eth0 up")
        })
        .unwrap();
        pod
    }

    pub(crate) fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        self.0.run(task)
    }

    /// Its namespace, for a thread that lives on.
    pub(crate) fn handle(&self) -> Namespace {
        Namespace(self.0.0.try_clone().unwrap())
    }
}

/// The address of the node, or of a pod.
pub(crate) fn address(number: u8) -> String {
    format!("10.77.0.{number}")
}

/// Runs iproute2's command in the namespace of this thread.
fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        ))),
    }
}
