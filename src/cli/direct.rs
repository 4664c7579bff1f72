//! Sends one file straight to the bucket, in parts side by side, by URLs that the server signs.
//!
//! For large images on a private link that is slow on the way to the server and fast to the bucket. As with pieces
//! through the server, nothing is kept here: the same command again is told which parts are missing. The server reads the
//! image back, checks and publishes it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use ureq::{Agent, http::header};

use super::{
    client::{Answer, Client, settings},
    output::{Failure, Retry, Terminal},
    progress::Progress,
    publish::{throughput, wait},
    resumable::Image,
    table::size,
};
use crate::api::{DirectView, PartView};

/// Parts on their way at the same time.
const SIDE_BY_SIDE: usize = 4;
/// How often one part is tried before the server is asked anew.
const TRIES: u32 = 4;
/// How long one part may be without an answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Sends until the image is published; the answer is the image's.
///
/// # Errors
/// When the server refuses, or too many tries in a row brought nothing forward.
pub fn send(
    client: &Client,
    image: &Image<'_>,
    file: &Path,
    retries: u32,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let (mut tried, mut fewest) = (0, usize::MAX);
    let started = Instant::now();
    loop {
        let mut missing = usize::MAX;
        match step(client, image, file, &mut missing, terminal) {
            Ok(answer) => {
                if answer.status == 201 {
                    let took = started.elapsed();
                    terminal.note(&format!("uploaded in {}", throughput(image.size, took)));
                }
                return Ok(answer);
            }
            Err(failure) => {
                if missing < fewest {
                    (fewest, tried) = (missing, 0);
                }
                wait(failure, tried, retries, terminal)?;
            }
        }
        tried += 1;
    }
}

/// Asks what is missing, sends it, and has it completed.
fn step(
    client: &Client,
    image: &Image<'_>,
    file: &Path,
    missing: &mut usize,
    terminal: &Terminal,
) -> Result<Answer, Failure> {
    let mut query = image.facts.to_vec();
    query.push(("size", image.size.to_string()));
    query.push(("sha256", hex::encode(image.sha256)));
    let path = format!("/v1/products/{}/releases/{}/images/direct", image.product, image.version);
    let answer = client.post_query(&path, &query)?;
    let view: DirectView = answer.read()?;
    if view.image.is_some() {
        let document = answer.document["image"].clone();
        return Ok(Answer { document, ..answer });
    }
    *missing = view.missing.len();
    send_parts(client, image, file, &view, terminal)?;
    client.post(&format!("/v1/uploads/{}/complete", view.id), &serde_json::json!({}))
}

/// Sends the missing parts.
fn send_parts(
    client: &Client,
    image: &Image<'_>,
    file: &Path,
    view: &DirectView,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let missing: u64 = view.missing.iter().map(|part| part.size).sum();
    let there = image.size.saturating_sub(missing);
    if there > 0 && missing > 0 {
        terminal.note(&format!("going on after {} of {}", size(there), size(image.size)));
    }
    let agent = settings(client.server(), PATIENCE).build().new_agent();
    let progress = Mutex::new((Progress::start(terminal, "uploading to the bucket", image.size), there));
    // From the first on: the list is taken from its end.
    let parts: Mutex<Vec<&PartView>> = Mutex::new(view.missing.iter().rev().collect());
    let work = || -> Result<(), Failure> {
        let unreadable = |error| Failure::yours(format!("cannot go on reading the image: {error}"));
        let mut file = File::open(file).map_err(unreadable)?;
        let mut bytes = Vec::new();
        loop {
            let Some(part) = lock(&parts).pop() else { return Ok(()) };
            let begin = u64::from(part.number.saturating_sub(1)) * view.part_size;
            file.seek(SeekFrom::Start(begin)).map_err(unreadable)?;
            bytes.clear();
            file.by_ref().take(part.size).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 != part.size {
                return Err(Failure::yours("the image has become shorter; publish it when it is complete"));
            }
            if let Err(failure) = send_part(&agent, part, &bytes) {
                // The others stop after their part.
                lock(&parts).clear();
                return Err(failure);
            }
            let mut progress = lock(&progress);
            progress.1 += part.size;
            let done = progress.1;
            progress.0.at(done);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE.min(view.missing.len())).map(|_| scope.spawn(work)).collect();
        let outcomes = workers.into_iter().map(|worker| match worker.join() {
            Ok(outcome) => outcome,
            Err(_panic) => Err(Failure::ours("sending a part failed in an unexpected way")),
        });
        outcomes.collect()
    })
}

fn send_part(agent: &Agent, part: &PartView, bytes: &[u8]) -> Result<(), Failure> {
    let mut tried = 0;
    loop {
        let answer =
            agent.put(&part.url).header(header::CONTENT_TYPE, "application/octet-stream").send(bytes);
        let why = match answer {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("the bucket answered {}", answer.status()),
            // Not the URL, which is a secret for as long as it works.
            Err(ureq::Error::Io(error)) => error.to_string(),
            Err(ureq::Error::Timeout(_)) => "the bucket does not answer in time".to_owned(),
            Err(error) => error.to_string(),
        };
        tried += 1;
        if tried == TRIES {
            let message = format!(
                "part {} cannot be sent to the bucket: {why}. Is the bucket's address reachable from here? Without \
                 --direct the image goes through the server",
                part.number
            );
            return Err(Failure { retry: Retry::After(None), ..Failure::ours(message) });
        }
        thread::sleep(Duration::from_secs(1 << (tried - 1)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
