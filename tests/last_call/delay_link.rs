use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::Ipv4Addr,
    os::fd::{AsFd, AsRawFd},
    os::unix::fs::OpenOptionsExt,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The address in the front's namespace, where the listener is.
pub(crate) const FRONT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The address in the clients' namespace.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A network namespace without a name: it goes with the last descriptor and thread that holds it.
#[derive(Debug)]
pub(crate) struct Namespace(File);

/// Two namespaces joined by a wire that takes its time. No packet leaves them.
#[derive(Debug)]
pub(crate) struct DelayLink {
    pub(crate) front: Namespace,
    pub(crate) clients: Namespace,
    unplugged: Arc<AtomicBool>,
    wires: Vec<JoinHandle<()>>,
}

impl Namespace {
    /// Runs `task` on a thread inside; processes that it spawns are inside, too.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = self.0.try_clone().unwrap();
        thread::spawn(move || {
            // SAFETY: setns(2) takes a descriptor that lives, and moves this thread alone.
            let entered = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "setns: {}", io::Error::last_os_error());
            task()
        })
    }

    /// A namespace with one point-to-point device, whose packets are read and written through the file.
    fn with_tun(local: Ipv4Addr, peer: Ipv4Addr) -> io::Result<(Self, File)> {
        let made = thread::spawn(move || {
            // SAFETY: unshare(2) takes no pointer, and gives this thread alone a new network namespace.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            let tun = open_tun()?;
            ip(&format!("address add {local} peer {peer} dev tun0"))?;
            ip("link set tun0 up")?;
            ip("link set lo up")?;
            Ok((Self(File::open("/proc/thread-self/ns/net")?), tun))
        });
        made.join().unwrap()
    }
}

impl DelayLink {
    /// The link, with half of `round_trip` each way; or none, having said why, where it cannot be made.
    pub(crate) fn or_skip(round_trip: Duration) -> Option<Self> {
        match Self::new(round_trip) {
            Ok(link) => Some(link),
            Err(error) if std::env::var_os("CI").is_some() => {
                panic!("namespaces are needed: {error}")
            }
            Err(error) => {
                eprintln!("SKIPPED: needs root, /dev/net/tun and iproute2: {error}");
                None
            }
        }
    }

    fn new(round_trip: Duration) -> io::Result<Self> {
        let (front, front_tun) = Namespace::with_tun(FRONT, CLIENTS)?;
        let (clients, clients_tun) = Namespace::with_tun(CLIENTS, FRONT)?;
        let unplugged = Arc::new(AtomicBool::new(false));
        let wires = [
            wire(&front_tun, &clients_tun, round_trip / 2, &unplugged)?,
            wire(&clients_tun, &front_tun, round_trip / 2, &unplugged)?,
        ];
        Ok(Self {
            front,
            clients,
            unplugged,
            wires: wires.into_iter().flatten().collect(),
        })
    }
}

impl Drop for DelayLink {
    fn drop(&mut self) {
        self.unplugged.store(true, Ordering::Relaxed);
        for thread in self.wires.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One direction: a thread that notes when each packet is due, and one that delivers it then.
fn wire(
    from: &File,
    to: &File,
    delay: Duration,
    unplugged: &Arc<AtomicBool>,
) -> io::Result<[JoinHandle<()>; 2]> {
    let (mut from, mut to, unplugged) = (from.try_clone()?, to.try_clone()?, unplugged.clone());
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    let deliver = thread::spawn(move || {
        for (due, packet) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // A full device drops the packet, as any link may.
            let _ = to.write_all(&packet);
        }
    });
    let collect = thread::spawn(move || {
        while !unplugged.load(Ordering::Relaxed) {
            if let Some(packet) = next_packet(&mut from) {
                sender.send((Instant::now() + delay, packet)).unwrap();
            }
        }
    });
    Ok([deliver, collect])
}

/// A packet, or none after 50 ms.
fn next_packet(tun: &mut File) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2048];
    match tun.read(&mut packet) {
        Ok(length) => {
            packet.truncate(length);
            Some(packet)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            let readable = PollFd::new(tun.as_fd(), PollFlags::POLLIN);
            poll(&mut [readable], PollTimeout::from(50_u8)).unwrap();
            None
        }
        Err(error) => panic!("reading tun0: {error}"),
    }
}

/// The device `tun0` of this thread's namespace; it goes when the file is closed.
fn open_tun() -> io::Result<File> {
    let tun = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, for which all bytes zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes an ifreq, which lives until it returns.
    match unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(tun),
        _ => Err(io::Error::last_os_error()),
    }
}

fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("ip: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {arguments}: {said}")))
}
