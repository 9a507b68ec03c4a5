//! HTTPS: a certificate of the tests' own, and sockets that trust it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer,
};

use super::{Builder, End, PATIENCE, Thrust, frames::Socket};

/// Who Thrust is in these tests.
const NAME: &str = "test.example";

/// What a client may say that it speaks.
pub(crate) const HTTP_1: &[u8] = b"http/1.1";
pub(crate) const HTTP_2: &[u8] = b"h2";

struct Identity {
    certificate: String,
    key: String,
    trusted: CertificateDer<'static>,
}

/// One for all tests of a run.
fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a name");
        Identity {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            trusted: made.cert.der().clone(),
        }
    })
}

/// The certificate and its key in one file, as HAProxy has it.
pub(crate) fn pem() -> String {
    let Identity {
        certificate, key, ..
    } = identity();
    format!("{certificate}{key}")
}

/// With HTTPS, on a port that the kernel chooses.
pub(crate) fn https() -> Builder {
    Thrust::builder()
        .env("HTTPS_PORT", "0")
        .file("THRUSTER_TLS_CERTIFICATE_PATH", &identity().certificate)
        .file("THRUSTER_TLS_PRIVATE_KEY_PATH", &identity().key)
}

/// The HTTPS port.
pub(crate) fn https_port(thrust: &Thrust) -> u16 {
    let record = thrust.wait_for_nth(1, "listening", PATIENCE);
    let addr = record.field("addr");
    let port = addr.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {addr}"))
}

/// An encrypted connection.
#[derive(Debug)]
pub(crate) struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Connects, and makes the handshake.
    pub(crate) fn connect(port: u16, protocol: &[u8]) -> Self {
        let mut secure = Self::begin(port, protocol);
        secure.finish().expect("a handshake");
        secure
    }

    /// Connects, and says nothing yet.
    pub(crate) fn begin(port: u16, protocol: &[u8]) -> Self {
        Self::over(
            TcpStream::connect(("127.0.0.1", port)).expect("it listens"),
            protocol,
        )
    }

    /// Says nothing yet on a connection that there is.
    pub(crate) fn over(tcp: TcpStream, protocol: &[u8]) -> Self {
        tcp.set_nodelay(true).expect("TCP");
        tcp.set_read_timeout(Some(PATIENCE)).expect("not zero");
        let mut roots = RootCertStore::empty();
        roots.add(identity().trusted.clone()).expect("a root");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = NAME.try_into().expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a configuration");
        Secure(StreamOwned::new(client, tcp))
    }

    /// The first flight, and no more.
    pub(crate) fn hello(&mut self) {
        let tcp = &mut self.0.sock;
        self.0.conn.write_tls(tcp).expect("Thrust listens");
    }

    /// The rest of the handshake.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        while self.0.conn.is_handshaking() {
            self.0.conn.complete_io(&mut self.0.sock)?;
        }
        // Else the last flight would come with the first request.
        self.0.conn.complete_io(&mut self.0.sock).map(|_| ())
    }

    /// What both have agreed on.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.0.sock
    }

    /// Encrypts and does not send: what comes out is what would have been sent.
    pub(crate) fn encrypt(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.conn.writer().write_all(bytes).expect("room");
        let mut encrypted = Vec::new();
        while self.0.conn.wants_write() {
            self.0.conn.write_tls(&mut encrypted).expect("memory");
        }
        encrypted
    }

    /// Reads one response with a Content-Length: its head and its body.
    #[track_caller]
    pub(crate) fn response(&mut self) -> String {
        let mut received = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&received);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.parse().ok())?
                });
                if body.len() >= length.unwrap_or(0) {
                    return text.into_owned();
                }
            }
            let mut piece = [0; 16 * 1024];
            let count = self.0.read(&mut piece).expect("a response");
            assert!(
                count > 0,
                "an end after {:?}",
                String::from_utf8_lossy(&received)
            );
            received.extend_from_slice(&piece[..count]);
        }
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> String {
        self.send_get(path);
        self.response()
    }

    #[track_caller]
    pub(crate) fn send_get(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
        self.0.write_all(request.as_bytes()).expect("it reads");
        self.0.flush().expect("it reads");
    }

    /// How it ends; what still comes is left out. An end without close_notify is [`End::Malformed`].
    pub(crate) fn end(&mut self) -> End {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.0.read(&mut piece) {
                Ok(0) => return End::Eof,
                Ok(_) => {}
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Timeout,
                        _ => End::Malformed,
                    };
                }
            }
        }
    }
}

impl Read for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Socket for Secure {
    fn patience(&self, patience: Duration) -> io::Result<()> {
        self.0.sock.set_read_timeout(Some(patience))
    }
}
