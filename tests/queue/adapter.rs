//! What the traits of the queue promise, kept by RabbitMQ while it is well.

use std::collections::BTreeMap;

use deltakeep::clickhouse::Secret;
use deltakeep::queue::rabbit::send::Client;
use deltakeep::queue::rabbit::{Rabbit, RabbitError};
use deltakeep::queue::{Address, Broker, Delivery, LARGEST, Outgoing, Published};
use lapin::options::{ExchangeDeleteOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use tokio::sync::watch;

use crate::amqp::{Other, server, settings, soon, start};
use crate::servers::{setting, share};
use crate::tls_relay::Relay;

fn to(to: Address, body: &str) -> Outgoing {
    Outgoing {
        to,
        body: body.as_bytes().to_vec(),
        message_id: Some("m-1".into()),
        correlation_id: Some("c-1".into()),
        reply_to: Some("r-1".into()),
        kind: Some("create_backup".into()),
        headers: [("progress".to_owned(), "true".to_owned())].into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_made_only_where_that_is_asked_for() {
    let _turn = share();
    let mut wanted = settings("missing");
    wanted.results = Some(format!("{}.results", wanted.queue));
    wanted.declare = false;
    let (_stop, stopped) = watch::channel(false);
    let other = Other::new(&wanted.queue).await;
    let start = |wanted| Rabbit::start(wanted, stopped.clone());
    for made in ["", ".dead", ".retry"] {
        let error = start(wanted.clone()).await.map(drop).expect_err("a queue is missing");
        let name = format!("{}{made}", wanted.queue);
        assert_eq!(error, RabbitError::Missing { what: "queue", name: name.clone() });
        assert!(error.to_string().contains("--declare"), "{error}");
        other.declare(&name).await;
    }
    let error = start(wanted.clone()).await.map(drop).expect_err("the exchange is missing");
    assert!(matches!(error, RabbitError::Missing { what: "exchange", .. }), "{error}");
    // What is there is taken as it is.
    wanted.declare = true;
    let rabbit = start(wanted.clone()).await.expect("made");
    rabbit.close().await;
    wanted.declare = false;
    start(wanted.clone()).await.expect("everything is there").close().await;
    other.tidy().await;
    let results = wanted.results.unwrap_or_default();
    let deleted =
        other.channel.exchange_delete(results.as_str().into(), ExchangeDeleteOptions::default());
    deleted.await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_comes_with_all_it_has_and_is_gone_once_its_ack_is_heard() {
    let _turn = share();
    let wanted = settings("comes");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    let properties = BasicProperties::default()
        .with_message_id("id".into())
        .with_correlation_id("c".into())
        .with_reply_to("replies".into())
        .with_type("get_backup".into())
        .with_content_type("application/json".into());
    other.put("{}", properties).await;
    let task = soon(rabbit.next()).await.expect("a task");
    let message = task.message();
    assert_eq!(message.body, b"{}");
    assert_eq!(
        (&message.message_id, &message.correlation_id, &message.reply_to, &message.kind),
        (
            &Some("id".into()),
            &Some("c".into()),
            &Some("replies".into()),
            &Some("get_backup".into())
        )
    );
    assert!(!message.redelivered);
    assert!(task.ack().await, "the broker is there");
    assert!(!task.ack().await, "a second ack is none");
    rabbit.close().await;
    other.await_waiting(&wanted.queue, 0).await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_tasks_come_than_are_asked_for_and_acks_make_room() {
    let _turn = share();
    let mut wanted = settings("prefetch");
    wanted.prefetch = 2;
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    for number in 0..5 {
        other.put(&number.to_string(), BasicProperties::default()).await;
    }
    let first = soon(rabbit.next()).await.expect("a task");
    let second = soon(rabbit.next()).await.expect("a task");
    other.await_waiting(&wanted.queue, 3).await;
    let mut third = std::pin::pin!(rabbit.next());
    assert!(futures_util::poll!(&mut third).is_pending(), "a third task came");
    assert!(first.ack().await);
    let third = soon(third).await.expect("a task");
    assert_eq!(third.message().body, b"2");
    assert!(second.ack().await && third.ack().await);
    rabbit.close().await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_dropped_comes_again() {
    let _turn = share();
    let wanted = settings("dropped");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    other.put("{}", BasicProperties::default()).await;
    drop(soon(rabbit.next()).await.expect("a task"));
    let again = soon(rabbit.next()).await.expect("the task again");
    assert!(again.message().redelivered);
    assert_eq!(again.message().headers.get("x-delivery-count").map(String::as_str), Some("1"));
    assert!(again.ack().await);
    rabbit.close().await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_stop_no_task_comes_and_those_that_came_can_be_acknowledged() {
    let _turn = share();
    let mut wanted = settings("stop");
    wanted.prefetch = 1;
    let (rabbit, stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    other.put("first", BasicProperties::default()).await;
    other.put("second", BasicProperties::default()).await;
    let first = soon(rabbit.next()).await.expect("a task");
    let waiting = tokio::join!(soon(rabbit.next()), async { stop.send_replace(true) }).0;
    assert!(waiting.is_none(), "a task came after the stop");
    assert!(first.ack().await);
    let sent = rabbit.publish(&to(Address::Dead, "{}")).await;
    assert_eq!(sent, Ok(Published::Taken), "a last reply");
    rabbit.close().await;
    other.await_waiting(&wanted.queue, 1).await;
    other.tidy().await;
}

/// Sends 300 messages at once, of which every third is for a queue that does not exist: what comes
/// back must be told of the right one.
async fn send_many(rabbit: &Rabbit, replies: &str) {
    let address = |number: u32| match number % 3 {
        0 => Address::Queue("nobody.listens.here".to_owned()),
        _ => Address::Queue(replies.to_owned()),
    };
    let sent = (0..300).map(|number| {
        let message = to(address(number), &number.to_string());
        async move { (number, rabbit.publish(&message).await) }
    });
    for (number, sent) in futures_util::future::join_all(sent).await {
        let expected = if number % 3 == 0 { Published::NoSuchQueue } else { Published::Taken };
        assert_eq!(sent, Ok(expected), "message {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_kept_or_come_back_each_by_itself() {
    let _turn = share();
    let wanted = settings("publish");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    let replies = format!("{}.replies", wanted.queue);
    other.declare(&replies).await;
    send_many(&rabbit, &replies).await;
    other.await_waiting(&replies, 200).await;
    let (_, properties) = other.take(&replies).await.expect("a reply");
    assert_eq!(*properties.delivery_mode(), Some(2), "it is not persistent");
    assert_eq!(properties.correlation_id().as_ref().map(|id| id.as_str()), Some("c-1"));
    let nowhere = [Address::Queue("x".repeat(300)), Address::Results("done".into())];
    for address in nowhere {
        assert_eq!(rabbit.publish(&to(address, "{}")).await, Ok(Published::NoSuchQueue));
    }
    // A queue that writes nothing to disk, as whoever waits for a reply has: its confirmations come
    // among those of messages that come back. With several under way on a channel they are mixed up.
    let quick = format!("{}.quick", wanted.queue);
    other.declare_for_itself(&quick).await;
    for _ in 0..5 {
        send_many(&rabbit, &quick).await;
    }
    other.await_waiting(&quick, 1000).await;
    rabbit.close().await;
    other.delete(&replies).await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_by_their_key_and_dead_ones_are_kept() {
    let _turn = share();
    let mut wanted = settings("results");
    let exchange = format!("{}.results", wanted.queue);
    wanted.results = Some(exchange.clone());
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    let results = to(Address::Results("backup.create_backup".into()), "{}");
    assert_eq!(rabbit.publish(&results).await, Ok(Published::NoSuchQueue), "nobody is bound");
    let queue = format!("{}.listener", wanted.queue);
    other.declare(&queue).await;
    let bound = other.channel.queue_bind(
        queue.as_str().into(),
        exchange.as_str().into(),
        "backup.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("bound");
    assert_eq!(rabbit.publish(&results).await, Ok(Published::Taken));
    assert_eq!(other.waiting(&queue).await, 1);
    assert_eq!(rabbit.publish(&to(Address::Dead, "dead")).await, Ok(Published::Taken));
    other.await_waiting(&format!("{}.dead", wanted.queue), 1).await;
    // An exchange that goes away at work is no fault of the connection.
    let deleted = other.channel.exchange_delete(exchange.as_str().into(), Default::default());
    deleted.await.expect("deleted");
    assert_eq!(rabbit.publish(&results).await, Ok(Published::NoSuchQueue));
    assert_eq!(rabbit.publish(&to(Address::Dead, "dead")).await, Ok(Published::Taken));
    let made = other.channel.exchange_declare(
        exchange.as_str().into(),
        ExchangeKind::Topic,
        Default::default(),
        FieldTable::default(),
    );
    made.await.expect("made again");
    rabbit.close().await;
    other.delete(&queue).await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_sent_back_pauses_and_comes_whole() {
    let _turn = share();
    let wanted = settings("later");
    let (rabbit, _stop) = start(&wanted).await;
    // The largest task needs many of the small frames that replies go by.
    let sent = Outgoing { body: vec![b'x'; LARGEST], ..to(Address::Later, "") };
    assert_eq!(rabbit.publish(&sent).await, Ok(Published::Taken));
    let other = Other::new(&wanted.queue).await;
    let task = soon(rabbit.next()).await.expect("the task");
    let message = task.message();
    assert_eq!(message.body, sent.body);
    assert_eq!(
        (&message.message_id, &message.correlation_id, &message.reply_to, &message.kind),
        (&sent.message_id, &sent.correlation_id, &sent.reply_to, &sent.kind)
    );
    assert_eq!(message.headers.get("progress").map(String::as_str), Some("true"));
    assert!(task.ack().await);
    other.await_waiting(&format!("{}.retry", wanted.queue), 0).await;
    rabbit.close().await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_claimed_by_one_worker_only() {
    let _turn = share();
    let wanted = settings("claim");
    let (rabbit, _stop) = start(&wanted).await;
    let claims = (0..16).map(|number| {
        let rabbit = &rabbit;
        async move {
            let worker = format!("worker-{}", number % 4);
            let claimed = rabbit.claim("task", &worker).await.expect("asked");
            (worker, claimed)
        }
    });
    let mut owners: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (worker, claimed) in futures_util::future::join_all(claims).await {
        owners.entry(worker).or_default().push(claimed);
    }
    let ours: Vec<_> = owners.iter().filter(|(_, said)| **said == [true; 4]).collect();
    let others: Vec<_> = owners.iter().filter(|(_, said)| **said == [false; 4]).collect();
    assert_eq!((ours.len(), others.len()), (1, 3), "{owners:?}");
    assert!(rabbit.claim("another", "worker-9").await.expect("asked"));
    rabbit.close().await;
    // A worker that comes later hears the same.
    let (rabbit, _stop) = start(&wanted).await;
    let owner = ours[0].0;
    assert!(rabbit.claim("task", owner).await.expect("asked"));
    assert!(!rabbit.claim("task", "worker-10").await.expect("asked"));
    rabbit.close().await;
    Other::new(&wanted.queue).await.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_gets_the_replies_to_its_task() {
    let _turn = share();
    let wanted = settings("sender");
    let (rabbit, _stop) = start(&wanted).await;
    let mut client = Client::connect(server(), true).await.expect("a connection");
    let reply_to = client.reply_to().expect("a queue").to_owned();
    let task = Outgoing { reply_to: Some(reply_to), ..to(Address::Later, "{}") };
    assert_eq!(client.send(&wanted.queue, &task).await, Ok(Published::Taken));
    assert_eq!(client.send("nobody.listens.here", &task).await, Ok(Published::NoSuchQueue));
    let came = soon(rabbit.next()).await.expect("the task");
    let address = Address::Queue(came.message().reply_to.clone().expect("an address"));
    assert_eq!(rabbit.publish(&to(address.clone(), "done")).await, Ok(Published::Taken));
    let reply = soon(client.reply()).await.expect("a reply");
    assert_eq!(
        (reply.body.as_slice(), reply.correlation_id.as_deref()),
        (&b"done"[..], Some("c-1"))
    );
    assert!(came.ack().await);
    client.close().await;
    assert_eq!(rabbit.publish(&to(address, "late")).await, Ok(Published::NoSuchQueue));
    rabbit.close().await;
    Other::new(&wanted.queue).await.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_wrong_virtual_host_end_the_start() {
    let _turn = share();
    let (_stop, stopped) = watch::channel(false);
    let mut wrong = settings("refused");
    wrong.server.password = Secret::new("caNary-wrong".to_owned());
    let error = Rabbit::start(wrong, stopped.clone()).await.map(drop).expect_err("refused");
    assert!(matches!(error, RabbitError::Refused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("caNary"), "{error}");
    let mut wrong = settings("refused");
    wrong.server.vhost = "nowhere".to_owned();
    let error = Rabbit::start(wrong, stopped).await.map(drop).expect_err("refused");
    assert!(matches!(error, RabbitError::Refused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_and_shown() {
    let _turn = share();
    let folder = std::path::PathBuf::from(setting("DELTAKEEP_TEST_CERTIFICATES"));
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a certificate");
    let address = format!("amqps://{}", setting("DELTAKEEP_TEST_AMQPS"));
    let mut secure = deltakeep::queue::rabbit::Server::parse(&address).expect("an address");
    let unknown = Client::connect(secure.clone(), false).await.map(drop).expect_err("unknown");
    assert!(unknown.to_string().contains("certificate"), "{unknown}");
    secure.authorities = Some(file("other-ca.pem"));
    assert!(Client::connect(secure.clone(), false).await.is_err(), "another authority");
    secure.authorities = Some(file("ca.pem"));
    Client::connect(secure.clone(), false).await.expect("a known authority").close().await;
    secure.identity = Some((file("client.pem").into_bytes(), Secret::new(file("client.key"))));
    Client::connect(secure.clone(), true).await.expect("with a certificate").close().await;
    // A name that the certificate does not have.
    let relay = Relay::start(&setting("DELTAKEEP_TEST_AMQP"), "127.0.0.2");
    (secure.host, secure.port) = ("127.0.0.2".to_owned(), relay.port);
    let unknown = Client::connect(secure, false).await.map(drop).expect_err("another host's");
    assert!(unknown.to_string().contains("mismatch"), "{unknown}");
}
