//! What the traits of the queue promise when RabbitMQ is not well: connections cut, queues deleted,
//! no room, kill -9.

use deltakeep::queue::rabbit::Rabbit;
use deltakeep::queue::{Address, Broker, Delivery, Outgoing, Published};
use lapin::BasicProperties;

use crate::amqp::{LONGEST, Other, close_connections, ctl, settings, soon, start};
use crate::servers::{TURN, kill, share, signal, up};

fn dead(body: &str) -> Outgoing {
    Outgoing {
        to: Address::Dead,
        body: body.as_bytes().to_vec(),
        message_id: None,
        correlation_id: None,
        reply_to: None,
        kind: None,
        headers: Default::default(),
    }
}

/// Waits until the adapter is well again.
async fn well(rabbit: &Rabbit) {
    let began = std::time::Instant::now();
    while let Some(trouble) = rabbit.trouble() {
        assert!(began.elapsed() < LONGEST, "still {trouble}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_lost_connection_comes_again_and_its_first_delivery_cannot_be_acknowledged() {
    let _turn = share();
    let wanted = settings("lost");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    for body in ["taken", "waits in the worker"] {
        other.put(body, BasicProperties::default()).await;
    }
    let lost = soon(rabbit.next()).await.expect("a task");
    close_connections(&wanted.name);
    let mut again = Vec::new();
    for _ in 0..2 {
        let task = soon(rabbit.next()).await.expect("a task again");
        assert!(task.message().redelivered, "it came by the old connection");
        again.push(task);
    }
    assert!(!lost.ack().await, "an ack went over another connection");
    for task in &again {
        assert!(task.ack().await);
    }
    well(&rabbit).await;
    rabbit.close().await;
    other.await_waiting(&wanted.queue, 0).await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_waited_for() {
    let _turn = share();
    let mut wanted = settings("deleted");
    let (rabbit, _stop) = start(&wanted).await;
    rabbit.close().await;
    wanted.declare = false;
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    other.delete(&wanted.queue).await;
    let began = std::time::Instant::now();
    while rabbit.trouble().is_none_or(|trouble| !trouble.contains("--declare")) {
        assert!(began.elapsed() < LONGEST, "{:?}", rabbit.trouble());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    other.declare(&wanted.queue).await;
    other.put("{}", BasicProperties::default()).await;
    let task = soon(rabbit.next()).await.expect("a task");
    assert!(task.ack().await);
    well(&rabbit).await;
    rabbit.close().await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_room_takes_acks_and_no_messages_until_it_has_room() {
    let _turn = TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wanted = settings("room");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    other.put("{}", BasicProperties::default()).await;
    well(&rabbit).await;
    ctl(&["set_disk_free_limit", "99999999999999"]);
    let task = soon(rabbit.next()).await.expect("a task");
    let error = soon(rabbit.publish(&dead("{}"))).await;
    let acked = soon(task.ack()).await;
    ctl(&["set_disk_free_limit", "50MB"]);
    assert!(error.is_err(), "{error:?}");
    assert!(acked, "the ack did not come through");
    let began = std::time::Instant::now();
    while rabbit.publish(&dead("{}")).await != Ok(Published::Taken) {
        assert!(began.elapsed() < LONGEST, "{:?}", rabbit.trouble());
    }
    well(&rabbit).await;
    rabbit.close().await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_comes_back_with_all_that_it_confirmed() {
    let _turn = TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wanted = settings("killed");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    other.put("{}", BasicProperties::default()).await;
    let lost = soon(rabbit.next()).await.expect("a task");
    let sent = (0..200).map(|number| {
        let (rabbit, message) = (&rabbit, dead(&number.to_string()));
        async move { rabbit.publish(&message).await }
    });
    // The middle of it, by the number of those that are confirmed.
    let sent = async {
        let mut sent = std::pin::pin!(futures_util::stream::FuturesUnordered::from_iter(sent));
        let (mut kept, mut failed) = (0, 0);
        while let Some(done) = futures_util::StreamExt::next(&mut sent).await {
            match done {
                Ok(Published::Taken) => kept += 1,
                Ok(Published::NoSuchQueue) => panic!("the queue is there"),
                Err(_) => failed += 1,
            }
            if kept == 100 && failed == 0 {
                kill("rabbitmq");
            }
        }
        (kept, failed)
    };
    let (kept, failed) = soon(sent).await;
    assert!(kept >= 100 && kept + failed == 200, "{kept} kept, {failed} failed");
    assert!(!lost.ack().await, "nobody heard that");
    tokio::task::spawn_blocking(|| up("rabbitmq")).await.expect("started");
    let again = soon(rabbit.next()).await.expect("the task again");
    assert!(again.ack().await);
    well(&rabbit).await;
    assert_eq!(rabbit.publish(&dead("last")).await, Ok(Published::Taken));
    rabbit.close().await;
    let other = Other::new(&wanted.queue).await;
    let began = std::time::Instant::now();
    // The count of a quorum queue lags behind after a start.
    while other.waiting(&format!("{}.dead", wanted.queue)).await <= kept {
        assert!(began.elapsed() < LONGEST, "confirmed messages are missing");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    other.tidy().await;
}

/// An ack that was only written is none: who says so must have heard an answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_is_not_told_of_before_the_broker_has_heard_it() {
    let _turn = TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wanted = settings("heard");
    let (rabbit, _stop) = start(&wanted).await;
    let other = Other::new(&wanted.queue).await;
    for body in ["first", "second"] {
        other.put(body, BasicProperties::default()).await;
    }
    let first = soon(rabbit.next()).await.expect("a task");
    let second = soon(rabbit.next()).await.expect("a task");
    signal("rabbitmq", "STOP");
    let mut acks = std::pin::pin!(futures_util::future::join(first.ack(), second.ack()));
    let early = tokio::time::timeout(std::time::Duration::from_secs(1), &mut acks).await;
    signal("rabbitmq", "CONT");
    assert!(early.is_err(), "a broker that stands still has heard {early:?}");
    assert_eq!(soon(acks).await, (true, true));
    rabbit.close().await;
    other.await_waiting(&wanted.queue, 0).await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let _turn = TURN.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let wanted = settings("absent");
    kill("rabbitmq");
    let (rabbit, _stop) = start(&wanted).await;
    assert!(rabbit.trouble().is_some());
    let reply = async { rabbit.publish(&dead("{}")).await };
    let up = tokio::task::spawn_blocking(|| up("rabbitmq"));
    let (_, started) = tokio::join!(reply, up);
    started.expect("started");
    well(&rabbit).await;
    let other = Other::new(&wanted.queue).await;
    other.put("{}", BasicProperties::default()).await;
    let task = soon(rabbit.next()).await.expect("a task");
    assert!(task.ack().await);
    rabbit.close().await;
    other.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_waiting_for_a_broker_that_never_comes() {
    let mut wanted = settings("never");
    wanted.server.port = 9;
    let (rabbit, stop) = start(&wanted).await;
    assert!(soon(rabbit.publish(&dead("{}"))).await.is_err(), "nobody is there");
    let task = tokio::join!(soon(rabbit.next()), async { stop.send_replace(true) }).0;
    assert!(task.is_none());
    soon(rabbit.close()).await;
}
