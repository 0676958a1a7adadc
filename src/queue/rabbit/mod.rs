//! RabbitMQ as the queue of tasks. Owns its connections: one that tasks come by and one that replies
//! go by, each opened again whenever it is gone, by its own hand; the client library's recovery is
//! never used, because it goes on with a channel whose deliveries are somebody else's already.
//! Decides nothing about tasks.

mod acks;
mod backoff;
mod claim;
mod consumer;
mod properties;
mod publisher;
pub mod send;
mod server;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

pub use self::consumer::RabbitDelivery;
pub use self::server::{AddressError, Server};

use self::consumer::{Consuming, Session};
use self::publisher::Publisher;
use self::topology::Names;
use super::{Broker, BrokerError, Outgoing, Published};

/// How long a good-bye may take.
const GOOD_BYE: Duration = Duration::from_secs(3);

/// How a worker uses RabbitMQ.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker.
    pub server: Server,
    /// The queue of tasks; `<queue>.dead` and `<queue>.retry` stand beside it.
    pub queue: String,
    /// The exchange for results of those who name no queue.
    pub results: Option<String>,
    /// Whether queues and exchange are made where they are missing.
    pub declare: bool,
    /// Most tasks that are held unacknowledged.
    pub prefetch: u16,
    /// What RabbitMQ shows of the connections.
    pub name: String,
}

/// Why there is no queue to work with. No case repeats a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RabbitError {
    /// Nobody answers, or not for now.
    #[error("RabbitMQ at {server}: {reason}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What failed.
        reason: String,
    },
    /// The broker answers no.
    #[error("RabbitMQ at {server} refuses: {reason}")]
    Refused {
        /// Host and port.
        server: String,
        /// What it said.
        reason: String,
    },
    /// Something that a worker needs is not there.
    #[error("{what} {name} does not exist; --declare makes it")]
    Missing {
        /// Queue or exchange.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A name that AMQP has no room for.
    #[error("a queue's name has 1 to 249 bytes, an exchange's 1 to 255")]
    Name,
    /// The worker was asked to stop before it had begun.
    #[error("stopped before there was a connection")]
    Stopped,
}

/// The queue of tasks in RabbitMQ. Clones are the same one.
#[derive(Clone)]
pub struct Rabbit(Arc<Inner>);

struct Inner {
    tasks: Mutex<mpsc::UnboundedReceiver<RabbitDelivery>>,
    publisher: Publisher,
    stop: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    troubles: [watch::Receiver<Option<String>>; 2],
    keepers: Mutex<Vec<JoinHandle<()>>>,
}

impl Rabbit {
    /// Connects and consumes. A broker that does not answer is asked again later, so that a worker can
    /// see to its own in the meantime. No task comes any more once `stop` turns true, but those that
    /// came can be acknowledged until [`Rabbit::close`].
    ///
    /// # Errors
    /// [`RabbitError`] where the broker says no, or something is missing.
    pub async fn start(
        settings: Settings,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, RabbitError> {
        let names = Names::of(&settings.queue, settings.results.as_deref());
        let names = Arc::new(names.ok_or(RabbitError::Name)?);
        let settings = Arc::new(settings);
        let (close, closing) = watch::channel(false);
        // The broker sends no more than the prefetch; what waited here when a connection ended must
        // not be in the way of the next one's.
        let (tasks, coming) = mpsc::unbounded_channel();
        let nothing_yet = || watch::channel(Some("no connection yet".to_owned()));
        let ((come, coming_trouble), (go, going_trouble)) = (nothing_yet(), nothing_yet());
        let consuming = Consuming {
            settings: settings.clone(),
            names: names.clone(),
            tasks,
            trouble: come,
            stop: stop.clone(),
            close: closing.clone(),
        };
        let first = first_session(&consuming, stop.clone()).await?;
        let (publisher, publishing) = publisher::publisher(settings, names, go, closing);
        let keepers = vec![tokio::spawn(consuming.run(first)), tokio::spawn(publishing.run())];
        Ok(Self(Arc::new(Inner {
            tasks: Mutex::new(coming),
            publisher,
            stop,
            close,
            troubles: [coming_trouble, going_trouble],
            keepers: Mutex::new(keepers),
        })))
    }

    /// Why tasks do not come or replies do not go; none where both do.
    pub fn trouble(&self) -> Option<String> {
        self.0.troubles.iter().find_map(|trouble| trouble.borrow().clone())
    }

    /// Says good-bye. What is not acknowledged goes back to the queue.
    pub async fn close(&self) {
        self.0.close.send_replace(true);
        for keeper in self.0.keepers.lock().await.drain(..) {
            // It only waits for a good-bye, and not for long.
            let _ = keeper.await;
        }
    }
}

/// The first session decides whether there is anything to work with; none where nobody answers.
async fn first_session(
    consuming: &Consuming,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<Session>, RabbitError> {
    let opened = tokio::select! {
        opened = consuming.open() => opened,
        () = until(&mut stop) => Err(RabbitError::Stopped),
    };
    match opened {
        Ok(session) => Ok(Some(session)),
        Err(error @ RabbitError::Unreachable { .. }) => {
            tracing::warn!("{error}; it is asked again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Broker for Rabbit {
    type Delivery = RabbitDelivery;

    async fn next(&self) -> Option<RabbitDelivery> {
        let mut tasks = self.0.tasks.lock().await;
        let mut stop = self.0.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = until(&mut stop) => return None,
                task = tasks.recv() => match task {
                    // It waited here while its connection ended: the broker has it again.
                    Some(task) if !task.is_ours() => {}
                    task => return task,
                },
            }
        }
    }

    async fn publish(&self, message: &Outgoing) -> Result<Published, BrokerError> {
        self.0.publisher.publish(message).await
    }

    async fn claim(&self, task: &str, worker: &str) -> Result<bool, BrokerError> {
        self.0.publisher.claim(task, worker).await
    }
}

/// Waits until a flag is set; one whose owner is gone counts as set.
async fn until(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}

/// Says good-bye to a broker that may not listen any more.
async fn closed(connection: &Connection) {
    let good_bye = connection.close(200, "good-bye".into());
    if let Ok(Err(error)) = tokio::time::timeout(GOOD_BYE, good_bye).await {
        tracing::debug!("the connection is gone already: {error}");
    }
}
