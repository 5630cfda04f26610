//! A camera that misbehaves on command, in a process of its own.
//!
//! It is an RTSP server (gst-rtsp-server) behind a relay of its own, so that it can break both the
//! stream and the connection. It is told what to do in lines on standard input, and answers each with
//! a line that starts with `camera:`. The first line is `start`, with `films=DIR` and optionally
//! `film=NAME`, `port=N`, `tls=FILE.pem`; the answer is `camera: ready PORT`.
//!
//! | command | what happens |
//! | --- | --- |
//! | `film NAME` | another film: in the session if the codec is the same, else sessions end |
//! | `fps N` | frames come at another rate |
//! | `drop` | all sessions end |
//! | `reset` | all connections are reset (RST) |
//! | `refuse on` / `off` | the port is closed / open |
//! | `freeze on` / `off` | connections stand and nothing passes / passes again |
//! | `stall on` / `off` | sessions stand and no frame is sent / sent again |
//! | `jump SECONDS` | RTP time stamps jump, ahead or back |
//! | `stuck on` / `off` | RTP time stamps stand still / go on |
//! | `corrupt on` / `off` | payloads of RTP packets are scrambled |
//! | `truncate on` / `off` | RTP packets are cut in half |
//! | `login none`, `login basic USER PASSWORD`, `login digest USER PASSWORD` | sessions end, and that is asked for |
//! | `path on` / `off` | the stream is there / is not there (404), and sessions end |
//!
//! A session begins wherever the film is at that moment, as with real cameras: mostly between two
//! key frames. The camera ends with its standard input.

#![allow(unused_imports)]

mod film;
mod process;
mod relay;
mod server;

pub use film::{FRAMES, Films, GROUP};
pub use process::FakeCamera;

use std::io::{BufRead, Write};
use std::path::PathBuf;

use relay::Relay;
use server::{Login, Server};

/// Runs the camera until standard input ends. Does nothing in a process that is not to be a camera.
pub fn serve() {
    if std::env::var_os(process::MARK).is_none() {
        return;
    }
    gstreamer::init().unwrap();
    let mut camera: Option<(Server, Relay)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match (&mut camera, words.as_slice()) {
            (_, []) => continue,
            (None, ["start", settings @ ..]) => start(settings).map(|started| {
                let answer = format!("ready {}", started.1.port());
                camera = Some(started);
                answer
            }),
            (None, _) => Err("it is not started".to_owned()),
            (Some((server, relay)), words) => obey(server, relay, words).map(|()| "ok".to_owned()),
        };
        let answer = answer.unwrap_or_else(|why| format!("error {why}: {line}"));
        println!("camera: {answer}");
        std::io::stdout().flush().unwrap();
    }
}

fn start(settings: &[&str]) -> Result<(Server, Relay), String> {
    let setting = |name: &str| {
        settings
            .iter()
            .filter_map(|s| s.split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.to_owned())
    };
    let films = PathBuf::from(setting("films").ok_or("films= is missing")?);
    let film = setting("film").unwrap_or_else(|| "main".to_owned());
    let port = setting("port").map_or(Ok(0), |p| p.parse().map_err(|_| "port is no number"))?;
    let server = Server::start(films, &film, setting("tls").map(PathBuf::from))?;
    let relay = Relay::start(port, server.port()).map_err(|e| e.to_string())?;
    Ok((server, relay))
}

fn obey(server: &mut Server, relay: &Relay, words: &[&str]) -> Result<(), String> {
    let on = |word: &str| match word {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("say on or off"),
    };
    let number = |word: &str| word.parse::<f64>().map_err(|_| "that is no number");
    match *words {
        ["film", name] => server.show(name)?,
        ["fps", rate] => server.set_rate(number(rate)?),
        ["drop"] => server.end_sessions(),
        ["reset"] => relay.reset(),
        ["refuse", word] => relay.refuse(on(word)?),
        ["freeze", word] => relay.freeze(on(word)?),
        ["stall", word] => relay.stall(on(word)?),
        ["jump", seconds] => server.jump(number(seconds)?),
        ["stuck", word] => server.stick(on(word)?),
        ["corrupt", word] => server.corrupt(on(word)?),
        ["truncate", word] => server.truncate(on(word)?),
        ["login", "none"] => server.ask(Login::None),
        ["login", "basic", user, password] => server.ask(Login::Basic(user, password)),
        ["login", "digest", user, password] => server.ask(Login::Digest(user, password)),
        ["path", word] => server.publish(on(word)?),
        _ => return Err("that is no command".to_owned()),
    }
    Ok(())
}
