//! A sandbox node and an in-process broker for commands that ask them. Owns both; they end with it.

use std::sync::Arc;

use deltakeep::kafka::mock::MockAdmin;
use deltakeep::sandbox::{Options, Sandbox};

/// Servers on ports of this process.
pub struct Worlds {
    _runtime: tokio::runtime::Runtime,
    pub broker: Arc<MockAdmin>,
    pub node: Sandbox,
}

impl Worlds {
    /// A node with these statements run.
    pub fn start(statements: &[&str]) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let broker = MockAdmin::start().expect("a broker");
        let kafka = broker.brokers().list().to_owned();
        let node = runtime.block_on(async {
            let options = Options { kafka, ..Default::default() };
            let node = Sandbox::start(options).await.expect("a node");
            for statement in statements {
                node.execute("shop", statement)
                    .await
                    .unwrap_or_else(|e| panic!("{statement}: {e:?}"));
            }
            node
        });
        Self { _runtime: runtime, broker, node }
    }

    /// `--connect` of a datamart.
    pub fn connect(&self, datamart: &str) -> String {
        format!("{}/{datamart}", self.node.address())
    }

    /// Addresses of the broker.
    pub fn brokers(&self) -> &str {
        self.broker.brokers().list()
    }
}
