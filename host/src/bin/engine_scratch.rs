#[path = "../engine.rs"] mod engine;
#[path = "../scoreboard.rs"] mod scoreboard;
#[path = "../sys.rs"] mod sys;
mod worker {
    #[path = "/work/wt/engine/host/src/worker/access_log.rs"] pub mod access_log;
    #[path = "/work/wt/engine/host/src/worker/body.rs"] pub mod body;
    #[path = "/work/wt/engine/host/src/worker/conn.rs"] pub mod conn;
    #[path = "/work/wt/engine/host/src/worker/context.rs"] pub mod context;
    #[path = "/work/wt/engine/host/src/worker/deadline.rs"] pub mod deadline;
    #[path = "/work/wt/engine/host/src/worker/epoch.rs"] pub mod epoch;
    #[path = "/work/wt/engine/host/src/worker/failure.rs"] pub mod failure;
    #[path = "/work/wt/engine/host/src/worker/http.rs"] pub mod http;
    #[path = "/work/wt/engine/host/src/worker/outbound.rs"] pub mod outbound;
    #[path = "/work/wt/engine/host/src/worker/plugin.rs"] pub mod plugin;
    #[path = "/work/wt/engine/host/src/worker/settings.rs"] pub mod settings;
    #[path = "/work/wt/engine/host/src/worker/state.rs"] pub mod state;
    #[path = "/work/wt/engine/host/src/worker/stdio.rs"] pub mod stdio;
    #[path = "/work/wt/engine/host/src/worker/ticket.rs"] pub mod ticket;
    #[path = "/work/wt/engine/host/src/worker/wasi02.rs"] pub mod wasi02;
    #[path = "/work/wt/engine/host/src/worker/wasi03.rs"] pub mod wasi03;
}
use worker::*;
use std::time::Duration;
use std::os::fd::{AsFd, OwnedFd};
#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Direct;
impl outbound::Connector for Direct {
    fn connect(&self, host: String, port: u16) -> outbound::Connecting {
        Box::pin(async move { tokio::net::TcpStream::connect((host, port)).await })
    }
}

fn main() -> anyhow::Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let get = |n: &str| a.iter().find_map(|x| x.strip_prefix(&format!("{n}=")).map(str::to_owned));
    let port: u16 = get("port").unwrap_or("8080".into()).parse()?;
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    if get("plain").is_some() {
        return rt.block_on(plain(port));
    }
    let mut settings = settings::Settings::default();
    settings.limits.max_instance_reuse_count = get("reuse").map(|v| v.parse().unwrap());
    settings.limits.max_instance_concurrent_reuse_count = get("concurrent").map(|v| v.parse().unwrap());
    if let Some(v) = get("timeout") { settings.limits.request_timeout = Duration::from_millis(v.parse()?); }
    if let Some(v) = get("header") { settings.limits.header_timeout = Duration::from_millis(v.parse()?); }
    if let Some(v) = get("keepalive") { settings.limits.keep_alive_timeout = Duration::from_millis(v.parse()?); }
    if let Some(v) = get("maxbody") { settings.limits.max_body_size = Some(v.parse()?); }
    if let Some(v) = get("maxinst") { settings.limits.max_instances = v.parse()?; }
    if let Some(v) = get("log") { settings.access_log = Some(if v == "json" { settings::LogFormat::Json } else { settings::LogFormat::Combined }); }
    let wasm = std::fs::read(&a[1])?;
    let t = std::time::Instant::now();
    let artifact = engine::compile(&wasm)?;
    eprintln!("compiled in {:?}: {} bytes, flavor {}", t.elapsed(), artifact.len(), *artifact.last().unwrap() as char);
    rt.block_on(async move {
        let t = std::time::Instant::now();
        let engine = engine::for_artifact(&artifact, &engine::EngineLimits { max_instances: settings.limits.max_instances })?;
        eprintln!("engine {:?}", t.elapsed());
        let out = |fd: OwnedFd| stdio::Output::new(fd, Duration::ZERO);
        let stdout = out(std::io::stdout().as_fd().try_clone_to_owned()?)?;
        let stderr = out(std::io::stderr().as_fd().try_clone_to_owned()?)?;
        let board = scoreboard::Scoreboard::create()?.0;
        let outbound = get("outbound").map(|_| std::sync::Arc::new(outbound::Outbound::new(Box::new(Direct))));
        let template = state::Template::new(&settings, state::Preopens::open(&[], &[])?, outbound, (stdout, stderr.clone()), board.clone());
        let plugin = plugin::Plugin::load(&engine, plugin::Artifact::Bytes(&artifact), template, &|_| Ok(())).await?;
        eprintln!("loaded {:?}", t.elapsed());
        let log = match settings.access_log { Some(f) => Some(access_log::AccessLog::new(std::io::stdout().as_fd().try_clone_to_owned()?, f)?), None => None };
        let w = context::Worker::new(settings, plugin, board.clone(), stderr, log)?;
        let l = std::net::TcpListener::bind(("127.0.0.1", port))?;
        l.set_nonblocking(true)?;
        let l = tokio::net::TcpListener::from_std(l)?;
        eprintln!("serving");
        let mut usr1 = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1())?;
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut hup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        loop {
            tokio::select! {
                c = l.accept() => {
                    let fd: OwnedFd = c?.0.into_std()?.into();
                    tokio::task::spawn_local(http::serve(conn::Conn::new(fd)?, w.clone()));
                }
                _ = usr1.recv() => {
                    use std::sync::atomic::Ordering::Relaxed;
                    let v = |a: &std::sync::atomic::AtomicU64| a.load(Relaxed);
                    eprintln!("open {} closed {} started {} classes {:?} instances {} total {} memory {} traps {}", v(&board.connections_open), v(&board.connections_closed), v(&board.requests_started),
                        board.requests_by_class.iter().map(v).collect::<Vec<_>>(), v(&board.instances), v(&board.instances_total), v(&board.guest_memory), v(&board.traps));
                }
                _ = term.recv() => { w.drain(context::Drain::Close).await; eprintln!("drained"); return Ok(()); }
                _ = hup.recv() => {
                    let kept = std::rc::Rc::new(std::cell::RefCell::new(Vec::new())); let k = kept.clone();
                    w.drain(context::Drain::Release(std::rc::Rc::new(move |r| { k.borrow_mut().push(r) }))).await;
                    eprintln!("released {:?}", kept.borrow().iter().map(|r| (&r.fd, r.read.len())).collect::<Vec<_>>());
                    for r in kept.take() { use std::io::{Read, Write}; let mut s = std::net::TcpStream::from(r.fd); s.set_nonblocking(false)?; let mut b = r.read.to_vec(); let mut c = [0; 4096];
                        if !b.ends_with(b"\r\n\r\n") { let n = s.read(&mut c)?; b.extend_from_slice(&c[..n]); }
                        eprintln!("next owner read {:?}", String::from_utf8_lossy(&b)); s.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew")?; }
                    return Ok(());
                }
            }
        }
    })
}

async fn plain(port: u16) -> anyhow::Result<()> {
    let l = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    eprintln!("serving");
    loop {
        let (c, _) = l.accept().await?;
        c.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let s = hyper::service::service_fn(|_r: hyper::Request<hyper::body::Incoming>| async move {
                let mut r = hyper::Response::new(http_body_util::Full::new(bytes::Bytes::from_static(b"hello world\n")));
                r.headers_mut().insert("content-type", ::http::HeaderValue::from_static("text/plain"));
                Ok::<_, std::convert::Infallible>(r)
            });
            let _ = hyper::server::conn::http1::Builder::new().header_read_timeout(None).serve_connection(hyper_util::rt::TokioIo::new(c), s).await;
        });
    }
}
