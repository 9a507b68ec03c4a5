//! Thrust in front of a small app, to be tried by hand:
//!
//! ```text
//! cargo run --release --example demo
//! ```
//!
//! It listens on port 8080, or the next one that is free, and says what to try. The app is this same executable, started
//! once more with `--app`: a real child, with its own port and its own handling of signals.

use std::{
    env,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    process::{self, ExitCode},
    time::Duration,
};

use thrust::{
    config::{self, Config, Invocation},
    journal::Stdout,
    server::listener::{Bound, PortName},
    service::{Service, lifecycle::Phase},
    telemetry,
};
use tokio::runtime::{Builder, LocalOptions};

/// Where the demo looks for a free port: the front's, and the app's.
const FRONT: RangeInclusive<u16> = 8080..=8180;
const APP: RangeInclusive<u16> = 3000..=3100;

fn main() -> ExitCode {
    let result = if env::args().nth(1).as_deref() == Some("--app") {
        app::serve().map(|()| 0)
    } else {
        front()
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            // Without a stderr there is nobody to tell.
            let _ = writeln!(io::stderr(), "demo: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What `thrust demo --app` would do, and a few words to the user.
fn front() -> Result<u8> {
    let config = config()?;
    let shape = config.log.format.shape();
    let stdout = Stdout::start(shape)?;
    let loudness = telemetry::init(stdout.clone(), shape, config.log.debug)?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())?;
    let hints = hints(config.server.http_port);
    let code = runtime.block_on(async {
        let service = Service::start(config, stdout.clone(), loudness).await?;
        tokio::task::spawn_local(say_when_serving(service.phase(), hints, stdout.clone()));
        Ok(service.run().await)
    });
    stdout.flush(Duration::from_secs(1));
    code
}

/// From the environment, as ever, but for the ports: nobody needs a privilege, or a free port 80, to try a demo.
fn config() -> Result<Config> {
    let app = [env::current_exe()?.into_os_string(), "--app".into()];
    let Invocation::Run(mut config) = config::from(app.into_iter(), env::vars_os())? else {
        return Err("there is nothing to print".into());
    };
    if !is_set("HTTP_PORT") {
        config.server.http_port = free("the front", FRONT, |port| {
            Bound::bind(port, PortName::Http).is_ok()
        })?;
    }
    if !is_set("TARGET_PORT") && !is_set("TARGET_SOCKET") {
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        config.upstream.target = thrust::target::Target::Port(free("the app", APP, is_free)?);
    }
    Ok(config)
}

fn is_set(name: &str) -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_set(name) || is_set(&format!("THRUSTER_{name}"))
}

/// The first free port, said aloud if it is not the usual one.
fn free(who: &str, mut ports: RangeInclusive<u16>, is_free: impl Fn(u16) -> bool) -> Result<u16> {
    let usual = *ports.start();
    let port = ports
        .find(|port| is_free(*port))
        .ok_or_else(|| format!("no port from {usual} on is free for {who}"))?;
    if port != usual {
        println!("Port {usual} is taken, so {who} listens on {port}.");
    }
    Ok(port)
}

async fn say_when_serving(
    mut phase: tokio::sync::watch::Receiver<Phase>,
    hints: String,
    stdout: Stdout,
) {
    let serving = phase.wait_for(|phase| *phase >= Phase::Serving).await;
    if serving.is_ok_and(|phase| *phase == Phase::Serving) {
        // Through the writer of the log lines, so that they do not get in between.
        stdout.send(hints.into_bytes());
    }
}

fn hints(port: u16) -> String {
    let pid = process::id();
    format!(
        r#"
  Thrust serves a demo app at http://localhost:{port}/ and logs every request here. In another terminal, try:

    curl localhost:{port}/                          the app says hello
    curl -N localhost:{port}/stream                 a clock, event by event: nothing is held back
    head -c 50M /dev/zero | curl -T- localhost:{port}/upload
    curl localhost:{port}/slow                      an answer that takes five seconds
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; printf "GET /echo HTTP/1.1\r\nHost: demo\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello\n" >&3; timeout 1 cat <&3'
                                                  an upgraded connection, as WebSockets are

  And now what this is all about. While `curl localhost:{port}/slow` waits:

    kill -TERM {pid}

  The port is closed at once, curl still gets its answer, and only then does the app hear of the signal. Compare the
  order of the lines that appear here; the exit code is the app's, 143. Ctrl-C stops the demo too.

"#
    )
}

/// The app: HTTP/1.1 by hand, a thread for each connection. As Puma does, it answers what it has begun when it is told to
/// stop, and then dies of the signal.
mod app {
    use std::{
        env,
        io::{self, BufRead, BufReader, Read, Write},
        net::{Ipv4Addr, TcpListener, TcpStream},
        process,
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::{Duration, Instant},
    };

    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    /// The requests that are being answered.
    static BUSY: AtomicUsize = AtomicUsize::new(0);

    /// How long `/slow` takes.
    const SLOW: Duration = Duration::from_secs(5);

    pub(crate) fn serve() -> super::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let port = env::var("PORT")?.parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        say(&format!("process {} listens on port {port}", process::id()));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                thread::spawn(|| converse(socket));
            }
        });
        if let Some(signal) = signals.forever().next() {
            stop(signal)?;
        }
        Ok(())
    }

    fn stop(signal: i32) -> io::Result<()> {
        let name = if signal == SIGTERM { "TERM" } else { "INT" };
        let busy = BUSY.load(Ordering::SeqCst);
        say(&format!(
            "SIG{name} received, with {busy} requests to finish"
        ));
        while BUSY.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(10));
        }
        emulate_default_handler(signal)
    }

    fn say(text: &str) {
        // One write, since Thrust's lines go to the same place.
        let _ = io::stdout().write_all(format!("app: {text}\n").as_bytes());
    }

    /// Counts a request while it is being answered.
    struct Busy;

    impl Busy {
        fn new() -> Self {
            BUSY.fetch_add(1, Ordering::SeqCst);
            Self
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            BUSY.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A request as far as this app is interested in it.
    struct Request {
        path: String,
        length: u64,
        chunked: bool,
    }

    /// Answers one request after the other; an error means that the other side has gone.
    fn converse(socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let mut writer = socket;
        while let Some(request) = read_head(&mut reader)? {
            match request.path.as_str() {
                "/stream" => return stream(&mut writer),
                "/echo" => return echo(&mut reader, &mut writer),
                _ => {
                    let _busy = Busy::new();
                    answer(&request, &mut reader, &mut writer)?;
                }
            }
        }
        Ok(())
    }

    fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let target = line.split(' ').nth(1).unwrap_or("/");
        let mut request = Request {
            path: target.split('?').next().unwrap_or(target).to_owned(),
            length: 0,
            chunked: false,
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else {
                return Ok(Some(request));
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => request.length = value.trim().parse().unwrap_or(0),
                "transfer-encoding" => request.chunked = true,
                _ => {}
            }
        }
    }

    fn answer(
        request: &Request,
        reader: &mut impl BufRead,
        writer: &mut impl Write,
    ) -> io::Result<()> {
        let began = Instant::now();
        let length = read_body(request, reader)?;
        let (status, kind, text) = match request.path.as_str() {
            "/" => ("200 OK", "text/html", PAGE.to_owned()),
            "/slow" => {
                thread::sleep(SLOW);
                ("200 OK", "text/plain", "That took five seconds.\n".into())
            }
            "/upload" => {
                let took = began.elapsed().as_millis();
                let text = format!("The app took {length} bytes in {took} ms.\n");
                ("200 OK", "text/plain", text)
            }
            _ => ("404 Not Found", "text/plain", "No such page.\n".into()),
        };
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        writer.write_all(response.as_bytes())
    }

    /// Reads it to its end; how many bytes there were.
    fn read_body(request: &Request, reader: &mut impl BufRead) -> io::Result<u64> {
        if !request.chunked {
            return io::copy(&mut reader.take(request.length), &mut io::sink());
        }
        let mut total = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            total += io::copy(&mut reader.take(size), &mut io::sink())?;
            // The line break after the data, or the one that ends it all.
            reader.read_line(&mut line)?;
            if size == 0 {
                return Ok(total);
            }
        }
    }

    /// Server-sent events, one a second, for as long as somebody listens.
    fn stream(writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n",
        )?;
        for second in 0_u64.. {
            writer.write_all(format!("data: {second} s\n\n").as_bytes())?;
            thread::sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// A connection that is no longer HTTP: what comes goes back.
    fn echo(reader: &mut impl Read, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )?;
        io::copy(reader, writer).map(drop)
    }

    const PAGE: &str = r#"<!doctype html>
<title>Thrust demo</title>
<style>body { font: 1.1rem/1.6 system-ui; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }</style>
<h1>Hello from the app behind Thrust</h1>
<p>The clock below is a stream of server-sent events: <b id=clock>-</b></p>
<p>Open <a href="/slow">/slow</a>, which takes five seconds, and meanwhile send the signal that the terminal names. You
will get your answer, while whoever comes new is refused.</p>
<script>new EventSource("/stream").onmessage = event => clock.textContent = event.data</script>
"#;
}
