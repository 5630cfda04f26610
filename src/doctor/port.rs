//! Who answers on the server's port: nobody, millrace, another server, or two of them.
//!
//! `localhost` is two addresses. A container that publishes the port and a program of the machine
//! can hold one each, and which of them answers a client is luck; so both are asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::{HeaderMap, SERVER};
use serde_json::Value as Json;
use url::Url;

use super::finding::listed;
use super::listeners::{self, Listener};
use super::network::{self, Reply, Silence};
use super::{Check, Circumstances, Finding};
use crate::clock::Clock;

/// What kind of server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This program.
    Millrace,
    /// The reference.
    Roboflow,
    /// Another one, with the name that it gives itself.
    Other(String),
}

/// A server, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub kind: Kind,
    pub version: Option<String>,
    pub id: Option<String>,
}

/// What there is at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Nobody,
    /// Connections are accepted, and what comes is no HTTP or nothing.
    Mute,
    Server(Server),
}

pub(super) fn check(at: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    let listening = listeners::on(at.port);
    let addresses = addresses(&listening);
    let answers = network::wait(ask_all(&addresses, at.port, at.patience));
    let answers = match answers.and_then(|answers| answers) {
        Ok(answers) => answers,
        Err(reason) => {
            return vec![Finding::not_applicable(
                Check::Port,
                format!("the port cannot be asked: {reason}"),
            )];
        }
    };
    let programs = listeners::programs(&listening);
    let told: Vec<(IpAddr, Answer)> = addresses.into_iter().zip(answers).collect();
    vec![judge(at.port, &told, &programs)]
}

/// Where a server could answer on this machine.
fn addresses(listening: &[Listener]) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for listener in listening {
        if !listener.address.is_unspecified() && !found.contains(&listener.address) {
            found.push(listener.address);
        }
    }
    found
}

async fn ask_all(
    addresses: &[IpAddr],
    port: u16,
    patience: Duration,
) -> Result<Vec<Answer>, String> {
    let client = network::local_client(patience)?;
    let mut asked = tokio::task::JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        let client = client.clone();
        asked.spawn(async move { (index, ask(&client, address, port, patience).await) });
    }
    let mut answers = vec![Answer::Nobody; addresses.len()];
    while let Some(joined) = asked.join_next().await {
        let (index, answer) = joined.map_err(|e| e.to_string())?;
        answers[index] = answer;
    }
    Ok(answers)
}

async fn ask(client: &Client, address: IpAddr, port: u16, patience: Duration) -> Answer {
    let socket = SocketAddr::from((address, port));
    let connecting = tokio::net::TcpStream::connect(socket);
    if !matches!(tokio::time::timeout(patience, connecting).await, Ok(Ok(_))) {
        return Answer::Nobody;
    }
    let get = async |path: &str| -> Result<Reply, Silence> {
        let url: Url = format!("http://{socket}{path}")
            .parse()
            .map_err(|_| Silence::Broken("no address".into()))?;
        network::get(client, url, HeaderMap::new()).await
    };
    let (info, api, health, freshness) = tokio::join!(
        get("/info"),
        get("/openapi.json"),
        get("/healthz"),
        get("/freshness")
    );
    identify(&[info, api, health, freshness])
}

/// What a stranger says of itself, cut, and without anything that moves a cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// Recognises a server by its answers to `/info`, `/openapi.json`, `/healthz` and `/freshness`; only
/// millrace has the last.
fn identify(replies: &[Result<Reply, Silence>; 4]) -> Answer {
    let [info, api, _, freshness] = replies;
    let json = |reply: &Result<Reply, Silence>| match reply {
        Ok(reply) if reply.status == 200 => reply.json(),
        _ => Json::Null,
    };
    let (info, api, freshness) = (json(info), json(api), json(freshness));
    let text = |value: &Json| value.as_str().map(plain);
    let header = replies
        .iter()
        .flatten()
        .find_map(|reply| reply.headers.get(SERVER)?.to_str().ok().map(plain));
    if replies.iter().all(Result::is_err) {
        return Answer::Mute;
    }
    let own = &freshness["server"];
    let name = text(&own["name"])
        .or_else(|| text(&info["name"]))
        .or_else(|| text(&api["info"]["title"]))
        .or(header);
    let kind = match name {
        Some(name) if name.to_lowercase().contains("millrace") => Kind::Millrace,
        Some(name) if name.contains("Roboflow Inference") => Kind::Roboflow,
        Some(name) => Kind::Other(name),
        None => Kind::Other("a server without a name".into()),
    };
    let version = text(&own["version"])
        .or_else(|| text(&info["version"]))
        .or_else(|| text(&api["info"]["version"]));
    Answer::Server(Server {
        kind,
        version,
        id: text(&info["uuid"]).or_else(|| text(&own["started"]).map(|t| format!("since {t}"))),
    })
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Millrace => f.write_str("millrace")?,
            Kind::Roboflow => f.write_str("the Roboflow Inference Server")?,
            Kind::Other(name) => f.write_str(name)?,
        }
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        match &self.id {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

fn judge(port: u16, told: &[(IpAddr, Answer)], programs: &[String]) -> Finding {
    let place = |ip: &IpAddr| SocketAddr::from((*ip, port)).to_string();
    let by = match programs {
        [] => String::new(),
        programs => format!("; held by {}", listed(programs, 4)),
    };
    let elsewhere = "start millrace on another port with `--port`";
    let stop = match programs {
        [] => format!(
            "find it with `ss -ltnp 'sport = :{port}'` or `docker ps --filter publish={port}` and stop it, or {elsewhere}"
        ),
        _ => format!(
            "stop it (a container: `docker stop $(docker ps -q --filter publish={port})`), or {elsewhere}"
        ),
    };
    let taken: Vec<&(IpAddr, Answer)> = told.iter().filter(|t| t.1 != Answer::Nobody).collect();
    let Some((ip, first)) = taken.first() else {
        return Finding::ok(Check::Port, format!("nobody listens on port {port}"));
    };
    if let Some((other_ip, other)) = taken.iter().find(|(_, answer)| answer != first) {
        let say = |ip: &IpAddr, answer: &Answer| match answer {
            Answer::Server(server) => format!("{server} on {}", place(ip)),
            _ => format!("a program that does not speak HTTP on {}", place(ip)),
        };
        let evidence = format!(
            "two servers share port {port}: {} and {}{by}",
            say(ip, first),
            say(other_ip, other)
        );
        return Finding::fault(Check::Port, evidence, format!("keep one of them: {stop}"));
    }
    let Answer::Server(server) = first else {
        let evidence = format!(
            "a program accepts connections on {} and does not answer HTTP{by}",
            place(ip)
        );
        return Finding::fault(Check::Port, evidence, stop);
    };
    let evidence = format!("{server} answers on {}{by}", place(ip));
    let own = env!("CARGO_PKG_VERSION");
    match (&server.kind, &server.version) {
        (Kind::Millrace, Some(version)) if version != own => Finding::warning(
            Check::Port,
            format!("{evidence}; this program is {own}"),
            "restart the server with this version, or use the doctor of its version",
        ),
        (Kind::Millrace, _) => Finding::ok(Check::Port, evidence),
        _ => Finding::fault(Check::Port, format!("another server, {evidence}"), stop),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn server(kind: Kind, version: &str, id: &str) -> Answer {
        Answer::Server(Server {
            kind,
            version: Some(version.into()),
            id: Some(id.into()),
        })
    }

    fn of(four: Answer, six: Answer) -> Finding {
        let told = [
            (IpAddr::from(Ipv4Addr::LOCALHOST), four),
            (IpAddr::from(Ipv6Addr::LOCALHOST), six),
        ];
        judge(9001, &told, &[])
    }

    #[test]
    fn two_servers_on_one_port_are_told_apart_by_their_ids() {
        let docker = server(Kind::Roboflow, "1.8.3", "AbC123");
        let native = server(Kind::Roboflow, "1.5.0", "xYz789");
        let found = of(docker.clone(), native);
        assert_eq!(found.verdict, Verdict::Fault);
        for part in ["two servers", "1.8.3", "AbC123", "1.5.0", "[::1]:9001"] {
            assert!(found.evidence.contains(part), "{part}: {}", found.evidence);
        }
        let one = of(docker.clone(), docker);
        assert!(one.evidence.starts_with("another server"), "{one:?}");
    }

    #[test]
    fn our_own_server_is_well_unless_it_is_another_version() {
        let own = server(Kind::Millrace, env!("CARGO_PKG_VERSION"), "a");
        assert_eq!(of(own, Answer::Nobody).verdict, Verdict::Ok);
        let old = server(Kind::Millrace, "0.0.1", "a");
        assert_eq!(of(old, Answer::Nobody).verdict, Verdict::Warning);
        assert_eq!(of(Answer::Nobody, Answer::Nobody).verdict, Verdict::Ok);
        assert_eq!(of(Answer::Nobody, Answer::Mute).verdict, Verdict::Fault);
    }

    #[test]
    fn a_stranger_cannot_write_to_the_terminal() {
        let name = "\u{1b}[31mevil".to_owned() + &"x".repeat(500);
        let body = serde_json::json!({"name": name, "version": name, "uuid": name});
        let reply = || {
            Ok(Reply {
                status: 200,
                headers: HeaderMap::new(),
                body: body.to_string().into(),
            })
        };
        let found = of(
            identify(&[reply(), reply(), reply(), reply()]),
            Answer::Nobody,
        );
        assert_eq!(found.verdict, Verdict::Fault);
        let shown = found.evidence;
        assert!(!shown.contains('\u{1b}') && shown.len() < 400, "{shown}");
    }
}
