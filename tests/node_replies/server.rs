//! A node's HTTP side with a script: what a request contains decides the answer. Knows no SQL.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The recorded reply of this name.
    Recorded(&'static str),
    /// A status and a body made up for the test.
    Made(u16, &'static str),
    /// The connection is closed without an answer.
    Lost,
    /// The connection stays open without an answer.
    Never,
}

/// A part of the request, and its answers: the last one stays.
type Script = Vec<(&'static str, Vec<Answer>)>;

/// The server; its threads end with the test's process.
pub struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Listens, and answers as the script says; a request that it does not know gets 404.
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (seen, script) = (Arc::clone(&requests), Arc::new(Mutex::new(script)));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                thread::spawn(move || serve(socket, &seen, &script));
            }
        });
        Self { address, requests }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Requests that contain a text.
    pub fn requests(&self, part: &str) -> Vec<String> {
        let requests = self.requests.lock().expect("no test panicked here");
        requests.iter().filter(|request| request.contains(part)).cloned().collect()
    }
}

fn serve(mut socket: TcpStream, seen: &Mutex<Vec<String>>, script: &Mutex<Script>) -> Option<()> {
    let request = read_request(&mut socket)?;
    seen.lock().ok()?.push(request.clone());
    let (status, body) = match next_answer(&request, script) {
        Answer::Recorded(name) => recorded(name),
        Answer::Made(status, body) => (status, body.to_owned()),
        Answer::Lost => return None,
        Answer::Never => loop {
            thread::park();
        },
    };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(format!("{head}{body}").as_bytes()).ok()
}

fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = socket.read(&mut part).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
        });
        if body.len() >= length.unwrap_or(0) {
            return Some(text.into_owned());
        }
    }
}

fn next_answer(request: &str, script: &Mutex<Script>) -> Answer {
    let mut script = script.lock().expect("no test panicked here");
    let answers = script.iter_mut().find(|(part, _)| request.contains(part));
    match answers {
        Some((_, answers)) if answers.len() > 1 => answers.remove(0),
        Some((_, answers)) => answers[0].clone(),
        None => Answer::Made(404, "unknown to the script"),
    }
}

fn recorded(name: &str) -> (u16, String) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/node_replies");
    let text = std::fs::read_to_string(format!("{folder}/{name}.json")).expect("a recorded reply");
    let reply: Value = serde_json::from_str(&text).expect("JSON");
    let status = reply["status"].as_u64().and_then(|status| status.try_into().ok());
    (status.expect("a status"), reply["body"].as_str().expect("a body").to_owned())
}
