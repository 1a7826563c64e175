//! The sockets, seen from their other ends.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::Value;

use super::*;

/// How long a message may take that has to come, in milliseconds.
const PATIENCE: i64 = 10_000;

struct Place {
    directory: tempfile::TempDir,
    context: zmq::Context,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), context: zmq::Context::new() }
    }

    fn bind(&self) -> Publisher {
        let mut publisher = Publisher::bind(self.directory.path(), &"web".parse().unwrap()).unwrap();
        publisher.take_subscriptions(false).unwrap();
        publisher
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.path().join("zmq").join(name)
    }

    fn connect(&self, kind: zmq::SocketType, name: &str) -> zmq::Socket {
        let socket = self.context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvhwm(1).unwrap();
        socket.connect(&format!("ipc://{}", self.socket(name).display())).unwrap();
        socket
    }

    fn subscriber(&self, publisher: &mut Publisher, topic: &str) -> zmq::Socket {
        let subscriber = self.connect(zmq::SUB, "pub");
        subscriber.set_subscribe(topic.as_bytes()).unwrap();
        let before = publisher.subscriptions.len();
        while publisher.subscriptions.len() == before {
            let [subscriptions, _] = publisher.raw_fds().unwrap();
            assert!(wait(subscriptions), "no subscription comes");
            publisher.take_subscriptions(true).unwrap();
        }
        subscriber
    }
}

fn wait(fd: RawFd) -> bool {
    wait_at_most(fd, PATIENCE)
}

fn wait_at_most(fd: RawFd, milliseconds: i64) -> bool {
    zmq::poll(&mut [zmq::PollItem::from_fd(fd, zmq::POLLIN)], milliseconds).unwrap() > 0
}

#[track_caller]
fn next(socket: &zmq::Socket) -> Vec<Vec<u8>> {
    assert!(socket.poll(zmq::POLLIN, PATIENCE).unwrap() > 0, "nothing comes");
    socket.recv_multipart(0).unwrap()
}

fn output(publisher: &mut Publisher, process: u32, offset: u64, bytes: &[u8]) {
    let (process, stream, length) = (ProcessId(process), Stream::Stdout, bytes.len() as u32);
    publisher.output(&RecordHeader { process, stream, offset, time_ns: 0, length }, 7, bytes).unwrap();
}

#[track_caller]
fn ask(publisher: &mut Publisher) -> Asked {
    let [_, requests] = publisher.raw_fds().unwrap();
    let mut told = false;
    loop {
        if let Some(asked) = publisher.next_request(told).unwrap() {
            return asked;
        }
        told = wait(requests);
        assert!(told, "no request comes");
    }
}

#[test]
fn the_sockets_appear_together_for_root_alone_and_are_taken_over() {
    let place = Place::new();
    drop(place.bind());
    let publisher = place.bind();
    let directory = place.socket("");
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["pub", "request"]);
    assert!(!place.directory.path().join("zmq.new").exists());
    drop(publisher);
}

#[test]
fn a_directory_with_a_long_path_is_no_hindrance() {
    let place = Place::new();
    let run = place.directory.path().join("x".repeat(200));
    fs::create_dir(&run).unwrap();
    Publisher::bind(&run, &"web".parse().unwrap()).unwrap();
    assert!(run.join("zmq/pub").exists());
}

#[test]
fn output_comes_in_three_frames_to_those_who_want_it() {
    let place = Place::new();
    let mut publisher = place.bind();
    let [two, all] = ["output/web/2/", ""].map(|topic| place.subscriber(&mut publisher, topic));
    output(&mut publisher, 1, 5, b"one");
    output(&mut publisher, 2, 0, &[b'x'; CHUNK_BYTES + 100]);
    let frames = next(&all);
    assert_eq!((&frames[0][..], &frames[2][..]), (&b"output/web/1/stdout"[..], &b"one"[..]));
    let header: Value = serde_json::from_slice(&frames[1]).unwrap();
    let expected = serde_json::json!({
        "container": "web", "process": 1, "stream": "stdout", "offset": 5, "position": 7, "time": "1970-01-01T00:00:00Z",
    });
    assert_eq!(header, expected);
    // What is longer than any piece of a well-behaved agent's is cut.
    for (offset, length) in [(0, CHUNK_BYTES), (CHUNK_BYTES, 100)] {
        let frames = next(&two);
        let header: Value = serde_json::from_slice(&frames[1]).unwrap();
        assert_eq!((header["offset"].as_u64(), frames[2].len()), (Some(offset as u64), length));
    }
    publisher.died().unwrap();
    let last = std::iter::repeat_with(|| next(&all)).find(|frames| frames[0].starts_with(b"event/")).unwrap();
    let header: Value = serde_json::from_slice(&last[1]).unwrap();
    assert_eq!((&last[0][..], header["kind"].as_str()), (&b"event/web/die"[..], Some("die")));
}

#[test]
fn nothing_is_sent_when_the_last_subscriber_has_gone() {
    let place = Place::new();
    let mut publisher = place.bind();
    let subscriber = place.subscriber(&mut publisher, "output/");
    drop(subscriber);
    while !publisher.subscriptions.is_empty() {
        assert!(wait(publisher.raw_fds().unwrap()[0]));
        publisher.take_subscriptions(true).unwrap();
    }
    output(&mut publisher, 1, 0, b"x");
    assert_eq!(publisher.raw_fds().map(|[subscriptions, _]| wait_at_most(subscriptions, 0)), Ok(false));
}

#[test]
fn a_subscriber_that_does_not_read_holds_up_nobody_and_finds_a_hole() {
    let place = Place::new();
    let mut publisher = place.bind();
    let slow = place.subscriber(&mut publisher, "");
    let bytes = [7; CHUNK_BYTES];
    for round in 0..2000 {
        output(&mut publisher, 1, round * CHUNK_BYTES as u64, &bytes);
    }
    let (mut got, mut last) = (0, None);
    while slow.poll(zmq::POLLIN, 200).unwrap() > 0 {
        let header: Value = serde_json::from_slice(&slow.recv_multipart(0).unwrap()[1]).unwrap();
        let offset = header["offset"].as_u64();
        assert!(offset > last || last.is_none());
        (got, last) = (got + 1, offset);
    }
    assert!((1..200).contains(&got), "{got} of 2000 were kept for it");
    // From then on it gets all again.
    output(&mut publisher, 1, 2000 * CHUNK_BYTES as u64, b"end");
    assert_eq!(next(&slow)[2], b"end");
}

#[test]
fn whoever_asks_gets_an_answer_with_or_without_an_envelope() {
    let place = Place::new();
    let mut publisher = place.bind();
    let [req, dealer] = [zmq::REQ, zmq::DEALER].map(|kind| place.connect(kind, "request"));
    for client in [&req, &dealer] {
        client.send("question", 0).unwrap();
        let asked = ask(&mut publisher);
        assert_eq!(asked.text, b"question");
        publisher.answer(asked, b"answer".to_vec(), b"bytes".to_vec()).unwrap();
        assert_eq!(next(client), [&b"answer"[..], b"bytes"]);
    }
    // As a proxy sends it.
    dealer.send_multipart(["client", "", "question"], 0).unwrap();
    let asked = ask(&mut publisher);
    publisher.answer(asked, b"answer".to_vec(), Vec::new()).unwrap();
    assert_eq!(next(&dealer), [&b"client"[..], b"", b"answer", b""]);
}

#[test]
fn whoever_takes_each_answer_before_it_asks_again_gets_all_of_them() {
    let place = Place::new();
    let mut publisher = place.bind();
    let client = place.connect(zmq::REQ, "request");
    let asking = std::thread::spawn(move || {
        for number in 0..30_000u32 {
            client.send(&number.to_le_bytes()[..], 0).unwrap();
            assert_eq!(next(&client)[0], number.to_le_bytes());
        }
    });
    while !asking.is_finished() {
        let [_, requests] = publisher.raw_fds().unwrap();
        let told = publisher.may_have_requests() || wait_at_most(requests, 100);
        while let Some(asked) = publisher.next_request(told).unwrap() {
            let header = asked.text.clone();
            publisher.answer(asked, header, vec![0; 100]).unwrap();
        }
    }
    asking.join().unwrap();
}

#[test]
fn a_subscriber_that_keeps_up_misses_nothing() {
    let place = Place::new();
    let mut publisher = place.bind();
    let subscriber = place.subscriber(&mut publisher, "");
    for round in 0..20_000 {
        output(&mut publisher, 1, round, b"x");
        if round % 16 == 15 {
            for _ in 0..16 {
                next(&subscriber);
            }
        }
    }
    assert_eq!(subscriber.poll(zmq::POLLIN, 0).unwrap(), 0);
}

#[test]
fn what_is_too_long_or_has_too_many_frames_is_passed_over() {
    let place = Place::new();
    let mut publisher = place.bind();
    let [long, many, good] = [(); 3].map(|()| place.connect(zmq::DEALER, "request"));
    long.send(vec![b' '; MOST_FRAME_BYTES as usize + 1], 0).unwrap();
    many.send_multipart(vec!["x"; 1000], 0).unwrap();
    many.send("after", 0).unwrap();
    good.send("good", 0).unwrap();
    let mut texts = [ask(&mut publisher).text, ask(&mut publisher).text];
    texts.sort();
    assert_eq!(texts, [b"after".to_vec(), b"good".to_vec()]);
    // Who does not read its answers loses them, and nobody else does.
    for _ in 0..100 {
        many.send("again", 0).unwrap();
        let asked = ask(&mut publisher);
        publisher.answer(asked, vec![0; 1_000_000], Vec::new()).unwrap();
    }
    good.send("good", 0).unwrap();
    let asked = ask(&mut publisher);
    publisher.answer(asked, b"answer".to_vec(), Vec::new()).unwrap();
    assert_eq!(next(&good)[0], b"answer");
}
