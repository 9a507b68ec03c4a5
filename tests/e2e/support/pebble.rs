//! Pebble, Let's Encrypt's small ACME server, with the name server that belongs to it. Debian has both as `pebble`.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};
use serde_json::{Value, json};

use super::{Builder, PATIENCE, Record, ReservedPort, Thrust, eventually, lines::Lines};

/// What a test wants of its ACME server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// Seconds that a certificate is good; 0 is Pebble's own, years.
    pub(crate) validity: u64,
    /// An account needs a binding with the key of `kid-1`.
    pub(crate) binding: bool,
    /// Nobody listens where HTTP-01 asks.
    pub(crate) no_http: bool,
    /// Seconds that each validation takes.
    pub(crate) slow: u32,
}

/// The key of `kid-1`, in base64url.
pub(crate) const BINDING_KEY: &str =
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// An ACME server, and the ports at which it asks for proof.
#[derive(Debug)]
pub(crate) struct Pebble {
    wishes: Wishes,
    server: Option<Child>,
    names: Child,
    lines: Lines,
    directory: PathBuf,
    api: ReservedPort,
    management: ReservedPort,
    names_port: ReservedPort,
    names_management: ReservedPort,
    http: ReservedPort,
    https: ReservedPort,
    elsewhere: ReservedPort,
}

/// What Pebble's own HTTPS shows.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    certificate_pem: String,
    key_pem: String,
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("names");
        Identity {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    })
}

/// Whether Pebble is here. With CI set, it must be.
pub(crate) fn is_here() -> bool {
    let found = Command::new("pebble")
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        assert!(env::var_os("CI").is_none(), "no pebble here: {found:?}");
        eprintln!("skipped: no pebble here (Debian has it as `pebble`)");
    }
    found.is_ok()
}

impl Pebble {
    /// Started; none where there is no Pebble.
    pub(crate) fn start(wishes: Wishes) -> Option<Self> {
        let mut pebble = Self::prepare(wishes)?;
        pebble.serve();
        Some(pebble)
    }

    /// As `start`, but the directory is down until [`serve`](Self::serve).
    pub(crate) fn prepare(wishes: Wishes) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !is_here() {
            return None;
        }
        let number = COUNT.fetch_add(1, SeqCst);
        let name = format!("thrust-pebble-{}-{number}", std::process::id());
        let directory = env::temp_dir().join(name);
        fs::create_dir_all(&directory).expect("a temporary directory");
        let (names_port, names_management) = (ReservedPort::v4(), ReservedPort::v4());
        let lines = Lines::default();
        let names = name_server(&names_port, &names_management, &lines);
        let pebble = Self {
            wishes,
            server: None,
            names,
            lines,
            directory,
            api: ReservedPort::v4(),
            management: ReservedPort::v4(),
            names_port,
            names_management,
            http: ReservedPort::front(),
            https: ReservedPort::front(),
            elsewhere: ReservedPort::v4(),
        };
        pebble.write_config();
        pebble.wait_for("Starting management server");
        Some(pebble)
    }

    fn write_config(&self) {
        let write = |name: &str, text: &str| {
            fs::write(self.directory.join(name), text).expect("the directory is ours");
        };
        write("cert.pem", &identity().certificate_pem);
        write("key.pem", &identity().key_pem);
        let http = match self.wishes.no_http {
            true => &self.elsewhere,
            false => &self.http,
        };
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.api.number()),
            "managementListenAddress": format!("127.0.0.1:{}", self.management.number()),
            "certificate": self.directory.join("cert.pem"),
            "privateKey": self.directory.join("key.pem"),
            "httpPort": http.number(),
            "tlsPort": self.https.number(),
            "externalAccountBindingRequired": self.wishes.binding,
            "externalAccountMACKeys": { "kid-1": BINDING_KEY },
            "certificateValidityPeriod": self.wishes.validity,
        }});
        write("config.json", &config.to_string());
    }

    /// Starts the directory itself.
    pub(crate) fn serve(&mut self) {
        let mut command = Command::new("pebble");
        command
            .arg("-strict")
            .arg("-config")
            .arg(self.directory.join("config.json"))
            .arg("-dnsserver")
            .arg(format!("127.0.0.1:{}", self.names_port.number()))
            .env("PEBBLE_WFE_NONCEREJECT", "20")
            .env("PEBBLE_AUTHZREUSE", "0");
        match self.wishes.slow {
            0 => command.env("PEBBLE_VA_NOSLEEP", "1"),
            // A random time below, so at least one of them.
            seconds => command.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        };
        self.server = Some(start(&mut command, &self.lines));
        // It says so a moment before it does.
        let port = self.api.number();
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(eventually(PATIENCE, listens), "Pebble does not start");
    }

    /// Ends the directory.
    pub(crate) fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// A line of Pebble's that contains this; waits for it.
    pub(crate) fn wait_for(&self, needle: &str) -> Record {
        let found = self
            .lines
            .find(0, PATIENCE, |record| record.text.contains(needle));
        found.unwrap_or_else(|| panic!("no line of Pebble's with {needle:?}"))
    }

    /// How many of Pebble's lines contain this.
    pub(crate) fn count(&self, needle: &str) -> usize {
        let lines = self.lines.records();
        lines
            .iter()
            .filter(|line| line.text.contains(needle))
            .count()
    }

    /// How many orders were made.
    pub(crate) fn orders(&self) -> usize {
        self.count("Added order")
    }

    pub(crate) fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.api.number())
    }

    /// What to trust Pebble's own HTTPS by.
    pub(crate) fn ca_bundle(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    /// A directory that goes with the test, and stands for a volume.
    pub(crate) fn volume(&self) -> PathBuf {
        self.directory.join("storage")
    }

    pub(crate) fn https_port(&self) -> u16 {
        self.https.number()
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.http.number()
    }

    /// Thrust for these domains, at the ports where Pebble asks.
    pub(crate) fn thrust(&self, domains: &str) -> Builder {
        self.thrust_elsewhere(domains)
            .env("HTTP_PORT", self.http.number().to_string())
            .env("HTTPS_PORT", self.https.number().to_string())
    }

    /// Thrust for these domains, at ports of its own.
    pub(crate) fn thrust_elsewhere(&self, domains: &str) -> Builder {
        Thrust::builder()
            .env("HTTPS_PORT", "0")
            .env("TLS_DOMAIN", domains)
            .env("STORAGE_PATH", self.volume())
            .env("ACME_DIRECTORY", self.directory_url())
            .env("THRUSTER_ACME_CA_BUNDLE", self.ca_bundle())
    }

    /// Names in this domain are not to be found from now on, or are again.
    pub(crate) fn lose(&self, domain: &str) {
        self.tell_name_server("set-servfail", domain);
    }

    pub(crate) fn find_again(&self, domain: &str) {
        self.tell_name_server("clear-servfail", domain);
    }

    fn tell_name_server(&self, command: &str, domain: &str) {
        let body = json!({ "host": domain }).to_string();
        let mut client = super::Client::connect(self.names_management.number());
        client.send_post(&format!("/{command}"), body.as_bytes());
        assert_eq!(client.response().status, 200);
    }

    /// The root of the certificates that are issued.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        let pem = get(self.management.number(), "/roots/0");
        CertificateDer::from_pem_slice(&pem).expect("a root")
    }

    /// Makes a handshake with Thrust as a client that trusts this CA and nobody else; the leaf it was shown.
    pub(crate) fn handshake(&self, name: &str) -> io::Result<CertificateDer<'static>> {
        shake_hands(self.https.number(), name, self.root())
    }

    /// Starts a directory that is this one, with `renewalInfo`: whichever certificate is asked for first is to be renewed
    /// at once, all others in a hundred years. Returns its URL, and what was asked.
    pub(crate) fn with_renewal_info(&self) -> (String, Lines) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let mut whole: Value =
            serde_json::from_slice(&get(self.api.number(), "/dir")).expect("a directory");
        whole["renewalInfo"] = json!(format!("https://localhost:{port}/ari"));
        let (asked, writer) = io::pipe().expect("a pipe");
        let lines = Lines::default();
        lines.follow("asked", asked);
        thread::spawn(move || {
            let mut first = None;
            for stream in listener.incoming().flatten() {
                let _ = give_renewal_info(stream, &whole, &mut first, &writer);
            }
        });
        (format!("https://localhost:{port}/dir"), lines)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- what Pebble printed");
            for line in self.lines.records() {
                eprintln!("{}", line.text);
            }
            eprintln!("---");
        }
        self.end();
        let _ = self.names.kill();
        let _ = self.names.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Answers every name with 127.0.0.1 and ::1.
fn name_server(port: &ReservedPort, management: &ReservedPort, lines: &Lines) -> Child {
    let mut command = Command::new("pebble-challtestsrv");
    command
        .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
        .args(["-dns01", &format!("127.0.0.1:{}", port.number())])
        .args(["-management", &format!("127.0.0.1:{}", management.number())]);
    start(&mut command, lines)
}

fn start(command: &mut Command, lines: &Lines) -> Child {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("both are in one package");
    lines.follow("pebble", child.stdout.take().expect("piped"));
    lines.follow("pebble", child.stderr.take().expect("piped"));
    child
}

/// GET from Pebble itself.
fn get(port: u16, path: &str) -> Vec<u8> {
    let mut stream = connect(port, "localhost", identity().certificate.clone()).expect("Pebble");
    let request = format!("GET {path} HTTP/1.0\r\nhost: localhost:{port}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    // Go closes without a close_notify.
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    answer.split_off(end.expect("a whole head") + 4)
}

/// An encrypted connection to 127.0.0.1, verified.
pub(crate) fn connect(
    port: u16,
    name: &str,
    root: CertificateDer<'static>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root).expect("a root");
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = name.to_owned().try_into().expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    while client.is_handshaking() {
        client.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(client, tcp))
}

/// The leaf that is shown to a client that asks for `name` and trusts `root`.
pub(crate) fn shake_hands(
    port: u16,
    name: &str,
    root: CertificateDer<'static>,
) -> io::Result<CertificateDer<'static>> {
    let stream = connect(port, name, root)?;
    let chain = stream.conn.peer_certificates().unwrap_or_default();
    Ok(chain.first().expect("verified").clone().into_owned())
}

/// Whether a command succeeds.
pub(crate) fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    status.as_ref().is_ok_and(ExitStatus::success)
}

fn give_renewal_info(
    mut tcp: TcpStream,
    directory: &Value,
    first: &mut Option<String>,
    mut asked: &io::PipeWriter,
) -> io::Result<()> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity().key.clone()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![identity().certificate.clone()], key)
        .map_err(io::Error::other)?;
    let mut server = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
    let mut tls = rustls::Stream::new(&mut server, &mut tcp);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    writeln!(asked, "{path}")?;
    let body = match path.strip_prefix("/ari/") {
        None => directory.to_string(),
        Some(certificate) => {
            let first = first.get_or_insert_with(|| certificate.to_owned());
            let year = if first == certificate { 2001 } else { 2121 };
            let window = |month| format!("{year}-{month}-01T00:00:00Z");
            json!({"suggestedWindow": {"start": window("01"), "end": window("02")}}).to_string()
        }
    };
    write!(
        tls,
        "HTTP/1.1 200 OK\r\nretry-after: 21600\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    tls.conn.send_close_notify();
    tls.flush()
}

/// The names of what is in a directory.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
