//! The fast app of the start row: this very executable, run as `--app PORT`. It listens at once and answers anything
//! with 200, one connection per thread.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// Serves until it is killed.
pub(crate) fn serve(port: &str) -> ! {
    let port: u16 = port
        .parse()
        .expect("--app is followed by a port, as first_byte.rs does");
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port was free a moment ago");
    loop {
        if let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || answer(stream));
        }
    }
}

/// Every read is taken for one request: heads here fit one segment.
fn answer(mut stream: TcpStream) {
    let mut head = [0; 4096];
    while stream.read(&mut head).is_ok_and(|n| n > 0) {
        if stream.write_all(ANSWER).is_err() {
            return;
        }
    }
}
