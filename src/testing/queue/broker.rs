//! A broker in memory as RabbitMQ was measured to be: what is not acknowledged comes again first when
//! a connection ends, an ack of an earlier connection means nothing, and what was sent stays.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::queue::{Address, Broker, BrokerError, Delivery, Message, Outgoing, Published};
use crate::testing::Fuse;

/// A connection that is lost at something that a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// At which ack, message or claim of the worker, from 1.
    pub at: usize,
    /// Whether it had come before.
    pub arrived: bool,
}

struct Queued {
    number: u64,
    message: Message,
}

/// Everything that the broker holds.
#[derive(Default)]
struct State {
    ready: VecDeque<Queued>,
    /// By worker and connection.
    unacked: BTreeMap<(String, u64, u64), Queued>,
    sent: Vec<Outgoing>,
    missing: BTreeSet<Address>,
    claims: BTreeMap<String, String>,
    connections: BTreeMap<String, u64>,
    next: u64,
}

/// The broker; clones are the same one.
#[derive(Clone, Default)]
pub struct Exchange {
    state: Arc<Mutex<State>>,
    notify: Arc<Notify>,
}

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task into the queue.
    pub fn put(&self, message: Message) {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.ready.push_back(Queued { number, message });
        drop(state);
        self.notify.notify_waiters();
    }

    /// There is no queue at this address.
    pub fn remove(&self, address: Address) {
        self.state().missing.insert(address);
    }

    /// Everything that was sent, in order.
    pub fn sent(&self) -> Vec<Outgoing> {
        self.state().sent.clone()
    }

    /// Tasks that are in the queue or with a worker.
    pub fn tasks(&self) -> usize {
        let state = self.state();
        state.ready.len() + state.unacked.len()
    }

    /// Puts what was sent back into the queue of tasks: its pause is over.
    pub fn end_pause(&self) -> usize {
        let mut state = self.state();
        let sent = std::mem::take(&mut state.sent);
        let (later, rest): (Vec<_>, Vec<_>) =
            sent.into_iter().partition(|message| message.to == Address::Later);
        state.sent = rest;
        drop(state);
        let number = later.len();
        for message in later {
            self.put(Message {
                body: message.body,
                content_type: None,
                message_id: message.message_id,
                correlation_id: message.correlation_id,
                reply_to: message.reply_to,
                kind: message.kind,
                headers: message.headers,
                redelivered: false,
            });
        }
        number
    }

    /// The connection of a worker ends: what it has not acknowledged comes again.
    pub fn lose(&self, worker: &str) {
        self.state().lose(worker);
        self.notify.notify_waiters();
    }

    /// Waits until something was sent or taken that makes this true.
    pub async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.notify.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    fn lose(&mut self, worker: &str) {
        *self.connections.entry(worker.to_owned()).or_default() += 1;
        let lost: Vec<_> = self.unacked.keys().filter(|key| key.0 == worker).cloned().collect();
        for key in lost.into_iter().rev() {
            if let Some(mut queued) = self.unacked.remove(&key) {
                queued.message.redelivered = true;
                self.ready.push_front(queued);
            }
        }
    }

    fn connection(&self, worker: &str) -> u64 {
        self.connections.get(worker).copied().unwrap_or_default()
    }
}

/// A worker's way to the broker.
pub struct MemoryBroker {
    exchange: Exchange,
    worker: String,
    fuse: Arc<Fuse>,
    cuts: Vec<Cut>,
    done: Arc<Mutex<usize>>,
    stop: watch::Receiver<bool>,
}

impl MemoryBroker {
    /// The way of a worker of this name; it is cut at these places.
    pub fn new(
        exchange: &Exchange,
        worker: &str,
        fuse: Arc<Fuse>,
        cuts: Vec<Cut>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (exchange, worker) = (exchange.clone(), worker.to_owned());
        Self { exchange, worker, fuse, cuts, done: Arc::default(), stop }
    }

    /// Does something that can be cut off; none where it was, so that nobody knows whether it came.
    async fn act<A>(&self, act: impl FnOnce(&mut State) -> A) -> Option<A> {
        act_on(&self.exchange, &self.worker, &self.fuse, &self.cuts, &self.done, act).await
    }
}

async fn act_on<A>(
    exchange: &Exchange,
    worker: &str,
    fuse: &Fuse,
    cuts: &[Cut],
    done: &Mutex<usize>,
    act: impl FnOnce(&mut State) -> A,
) -> Option<A> {
    fuse.step().await;
    let answer = {
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        let mut state = exchange.state();
        match cuts.iter().find(|cut| cut.at == *done) {
            None => Some(act(&mut state)),
            Some(cut) => {
                if cut.arrived {
                    act(&mut state);
                }
                state.lose(worker);
                None
            }
        }
    };
    exchange.notify.notify_waiters();
    fuse.step().await;
    answer
}

fn gone() -> BrokerError {
    BrokerError { reason: "the connection is gone".into() }
}

impl Broker for MemoryBroker {
    type Delivery = MemoryDelivery;

    async fn next(&self) -> Option<MemoryDelivery> {
        let mut stop = self.stop.clone();
        loop {
            let put = self.exchange.notify.notified();
            tokio::pin!(put);
            put.as_mut().enable();
            if *stop.borrow() {
                return None;
            }
            let taken = self.exchange.state().ready.pop_front();
            if let Some(queued) = taken {
                let message = queued.message.clone();
                let (connection, number) = {
                    let mut state = self.exchange.state();
                    let connection = state.connection(&self.worker);
                    let number = queued.number;
                    state.unacked.insert((self.worker.clone(), connection, number), queued);
                    (connection, number)
                };
                self.fuse.step().await;
                return Some(MemoryDelivery {
                    exchange: self.exchange.clone(),
                    fuse: self.fuse.clone(),
                    cuts: self.cuts.clone(),
                    done: self.done.clone(),
                    key: (self.worker.clone(), connection, number),
                    message,
                });
            }
            tokio::select! {
                () = put => {}
                _ = stop.changed() => {}
            }
        }
    }

    async fn publish(&self, message: &Outgoing) -> Result<Published, BrokerError> {
        let done = self.act(|state| {
            if state.missing.contains(&message.to) {
                return Published::NoSuchQueue;
            }
            state.sent.push(message.clone());
            Published::Taken
        });
        done.await.ok_or_else(gone)
    }

    async fn claim(&self, task: &str, worker: &str) -> Result<bool, BrokerError> {
        let done = self.act(|state| {
            let claimed = state.claims.entry(task.to_owned());
            claimed.or_insert_with(|| worker.to_owned()) == worker
        });
        done.await.ok_or_else(gone)
    }
}

/// A task that a worker holds.
pub struct MemoryDelivery {
    exchange: Exchange,
    fuse: Arc<Fuse>,
    cuts: Vec<Cut>,
    done: Arc<Mutex<usize>>,
    key: (String, u64, u64),
    message: Message,
}

impl Delivery for MemoryDelivery {
    fn message(&self) -> &Message {
        &self.message
    }

    async fn ack(&self) -> bool {
        let key = &self.key;
        let acked = act_on(&self.exchange, &key.0, &self.fuse, &self.cuts, &self.done, |state| {
            state.connection(&key.0) == key.1 && state.unacked.remove(key).is_some()
        });
        acked.await.unwrap_or(false)
    }

    async fn answered(&self) {
        self.ack().await;
    }
}
