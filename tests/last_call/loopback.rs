use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::AsFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use thrust::server::{
    last_call::{Patience, last_call},
    listener::{BindError, Bound, Listener, PortName},
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn listener() -> Listener {
    Bound::at(LOOPBACK).unwrap().listen().unwrap()
}

/// Whether nobody listens; asked for up to a second, for a process that another test spawns at this very moment has
/// our listener between its fork and its exec.
fn is_refused(address: SocketAddr) -> bool {
    let start = Instant::now();
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    while start.elapsed() < Duration::from_secs(1) {
        if TcpStream::connect(address).is_err_and(refused) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn in_30_s() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[tokio::test]
async fn twenty_queued_connections_are_all_accepted_with_patience_and_without() {
    for patience in [Patience::RoundTrip, Patience::None] {
        let listener = listener();
        let address = listener.local_addr();
        let connect = |_| TcpStream::connect(address).unwrap();
        let clients: Vec<_> = (0..20).map(connect).collect();
        let welcome = |mut socket: TcpStream, _| socket.write_all(b"welcome").unwrap();
        let outcome = last_call(listener, in_30_s(), patience, welcome).await;
        assert_eq!(outcome.accepted_late, 20);
        assert_eq!(outcome.filtered, patience == Patience::RoundTrip);
        assert!(is_refused(address));
        for mut client in clients {
            let mut read = String::new();
            client.read_to_string(&mut read).unwrap();
            assert_eq!(read, "welcome");
        }
    }
}

#[tokio::test]
async fn without_a_handshake_under_way_it_takes_next_to_no_time() {
    let mut times = Vec::new();
    for _ in 0..9 {
        let (listener, start) = (listener(), Instant::now());
        last_call(listener, in_30_s(), Patience::RoundTrip, |_, _| {}).await;
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!("last call with nobody coming, median of 9: {:?}", times[4]);
    // Five times what it may take on a quiet machine.
    assert!(times[4] < Duration::from_millis(100), "{times:?}");
}

#[tokio::test]
async fn a_passed_deadline_still_accepts_the_queue() {
    let listener = listener();
    let _client = TcpStream::connect(listener.local_addr()).unwrap();
    let outcome = last_call(listener, Instant::now(), Patience::RoundTrip, |_, _| {}).await;
    assert_eq!(outcome.accepted_late, 1);
}

#[tokio::test]
async fn a_bound_port_refuses_until_it_listens() {
    let bound = Bound::at(LOOPBACK).unwrap();
    assert!(is_refused(bound.local_addr()));
    let listener = bound.listen().unwrap();
    TcpStream::connect(listener.local_addr()).unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told_at_bind_or_as_late_as_listen() {
    let first = Bound::at(LOOPBACK).unwrap();
    let port = first.local_addr().port();
    let second = Bound::at(first.local_addr()).unwrap();
    let _listener = first.listen().unwrap();
    assert!(matches!(second.listen(), Err(BindError::Taken(taken, _)) if taken == port));
    assert!(
        matches!(Bound::bind(port, PortName::Http), Err(BindError::Taken(taken, _)) if taken == port)
    );
}

#[tokio::test]
async fn an_ipv4_client_of_the_dual_stack_port_is_seen_as_ipv4() {
    let listener = Bound::bind(0, PortName::Http).unwrap().listen().unwrap();
    let address = (Ipv4Addr::LOCALHOST, listener.local_addr().port());
    let client = TcpStream::connect(address).unwrap();
    let (_, peer) = listener.accept().await;
    assert_eq!(peer, client.local_addr().unwrap());
}

#[tokio::test]
async fn an_accepted_socket_is_ready_for_any_runtime() {
    let listener = listener();
    let _client = TcpStream::connect(listener.local_addr()).unwrap();
    let (mut socket, _) = listener.accept().await;
    assert!(socket.nodelay().unwrap());
    assert_eq!(
        socket.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let flags = fcntl(socket.as_fd(), FcntlArg::F_GETFD).unwrap();
    assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
}

#[tokio::test]
async fn a_child_does_not_keep_the_port_open() {
    let listener = listener();
    let address = listener.local_addr();
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    drop(listener);
    assert!(is_refused(address));
    drop(child.stdin.take());
    child.wait().unwrap();
}
