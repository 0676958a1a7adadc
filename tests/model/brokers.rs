//! The brokers and the connectors: transactions of the backup topic, staging topics, and what
//! nobody asked for. Stands for Kafka's coordinator and a node's connectors, so for no function of
//! the product; the product's calls to them are in `road.rs` and `worker.rs`.

use super::state::{Message, Piece, Rules, Slot, Unload, World, Zombie};

impl World {
    /// Hands a message to the open transaction of its producer.
    pub fn send(&mut self, message: Message) -> u8 {
        self.topic.push(Slot::Open(message));
        (self.topic.len() - 1) as u8
    }

    /// Ends the transaction of a producer; nothing where it has none.
    pub fn end_transaction(&mut self, run: u8, producer: (u8, u8), commit: bool) {
        let mut ended = false;
        for slot in &mut self.topic {
            if let Slot::Open(message) = *slot
                && (message.run, message.producer) == (run, producer)
            {
                *slot = if commit { Slot::Visible(message) } else { Slot::Hidden };
                ended = true;
            }
        }
        if ended {
            self.topic.push(Slot::Hidden);
        }
    }

    pub fn has_transaction(&self, run: u8, producer: (u8, u8)) -> bool {
        let of = |m: &Message| (m.run, m.producer) == (run, producer);
        self.topic.iter().any(|slot| matches!(slot, Slot::Open(message) if of(message)))
    }

    /// `Sink::open`: init_transactions ends what the lane left open and shuts its producer out.
    /// Without the rule each process has transactional ids of its own, which shuts nobody out.
    pub fn open_lane(&mut self, run: u8, lane: u8, rules: Rules) -> u8 {
        let epoch = self.epochs[run as usize][lane as usize];
        if rules.fence {
            self.end_transaction(run, (lane, epoch), false);
            self.zombies.retain(|zombie| (zombie.run, zombie.producer.0) != (run, lane));
        }
        self.epochs[run as usize][lane as usize] = epoch + 1;
        epoch + 1
    }

    /// A producer nobody listens to any more lives on, if there is something left for it to do.
    pub fn leave(&mut self, zombie: Zombie) {
        if !zombie.queue.is_empty() || self.has_transaction(zombie.run, zombie.producer) {
            self.zombies.push(zombie);
            self.zombies.sort_by_key(|zombie| (zombie.run, zombie.producer));
        }
    }

    pub fn zombie_sends(&mut self, which: u8) -> bool {
        let zombie = &mut self.zombies[which as usize];
        if zombie.queue.is_empty() {
            return false;
        }
        let message = zombie.queue.remove(0);
        self.send(message);
        true
    }

    pub fn zombie_commits(&mut self, which: u8) -> bool {
        let Zombie { run, producer, .. } = self.zombies[which as usize].clone();
        if !self.has_transaction(run, producer) {
            return false;
        }
        self.end_transaction(run, producer, true);
        // It would have to write its journal next.
        self.zombies.remove(which as usize);
        true
    }

    /// The coordinator gives the transaction of a zombie up, and shuts it out.
    pub fn expire(&mut self, which: u8) {
        let Zombie { run, producer, .. } = self.zombies.remove(which as usize);
        self.end_transaction(run, producer, false);
    }

    /// Topic, external table and INSERTs of an unload; every other one comes in another order.
    pub fn insert(&mut self, unload: u8) {
        let both = match unload % 2 {
            0 => vec![Piece::Added, Piece::Removed],
            _ => vec![Piece::Removed, Piece::Added],
        };
        let unload = &mut self.unloads[unload as usize];
        (unload.topic, unload.external, unload.to_come) = (true, true, both);
    }

    /// The connector writes the next message, whether anybody waits for it or not.
    pub fn connector_writes(&mut self, unload: u8) -> bool {
        let unload = &mut self.unloads[unload as usize];
        if unload.to_come.is_empty() {
            return false;
        }
        if !unload.topic {
            (unload.topic, unload.came_back) = (true, true);
            unload.messages.clear();
        }
        let piece = unload.to_come.remove(0);
        unload.messages.push(piece);
        true
    }

    /// A staging topic is gone.
    pub fn delete_staging(&mut self, unload: u8) {
        let unload = &mut self.unloads[unload as usize];
        (unload.topic, unload.came_back) = (false, false);
        unload.messages.clear();
    }

    pub fn new_unload(&mut self, run: u8, table: u8) -> u8 {
        self.unloads.push(Unload {
            run,
            table,
            topic: false,
            messages: vec![],
            to_come: vec![],
            external: false,
            came_back: false,
            named: false,
        });
        (self.unloads.len() - 1) as u8
    }
}
