//! Why a drill did not come to a verdict, as named cases with data; a backup that does not restore
//! is none of them. Owns no exit code and no advice: those belong to the command line.

use crate::catalog::CatalogError;
use crate::extract::SourceError;
use crate::journal::drill_record::Failing;
use crate::journal::{JournalError, Place};
use crate::model::Owner;
use crate::restore::{self, Disagreement, Wanting};

/// What is refused before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The scratch is the source.
    #[error("datamart {} on {} is the source itself: a drill would drop it", .0.datamart, .0.node)]
    Source(Place),
    /// There is no such topic.
    #[error("topic {topic} does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
    },
}

/// Who holds the scratch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Holder {
    /// It exists, and no drill of this journal made it.
    #[error("datamart {} on {} exists, and no drill of this journal made it{}",
        .scratch.datamart, .scratch.node, marked(.owner))]
    Others {
        /// The scratch.
        scratch: Place,
        /// Whose marker it carries.
        owner: Option<Owner>,
    },
    /// The marker vanished or changed while the drill worked.
    #[error("datamart {} on {} does not carry this drill's marker any more", .0.datamart, .0.node)]
    MarkerLost(Place),
}

fn marked(owner: &Option<Owner>) -> String {
    let text = |owner: &Owner| format!("; run {} marked it (started {})", owner.run, owner.started);
    owner.as_ref().map_or(String::new(), text)
}

/// Why a drill stopped.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Refused before anything was touched.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The scratch is somebody else's.
    #[error(transparent)]
    Held(#[from] Holder),
    /// A node: the scratch's or the source's.
    #[error(transparent)]
    Node(#[from] SourceError),
    /// The backup topic.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The restore stopped in a way that a resume can cure.
    #[error(transparent)]
    Restore(restore::Fault),
    /// The reports cannot be written.
    #[error("the report cannot be written: {0}")]
    Report(String),
    /// Asked to stop.
    #[error("stopped by a signal")]
    Stopped,
    /// Not a failure: the scratch is not as the journal says, and is made again.
    #[error("{0}; the scratch is made again")]
    Again(restore::Fault),
}

impl Fault {
    /// True where looking again and going on may cure it.
    pub fn can_reenter(&self) -> bool {
        match self {
            Self::Catalog(error) => matches!(error, CatalogError::Unreachable { .. }),
            Self::Node(error) => {
                matches!(error, SourceError::Unreachable { .. } | SourceError::Brokers { .. })
            }
            Self::Again(_) => true,
            _ => false,
        }
    }
}

/// True where the restore met another scratch than its journal tells of: one that lost its tail, or
/// somebody was in the scratch.
pub fn is_astray(fault: &restore::Fault) -> bool {
    let changed = |found: &Disagreement| {
        matches!(found, Disagreement::Changed { .. } | Disagreement::Replay(_))
    };
    match fault {
        restore::Fault::Held(holder) => matches!(holder, restore::Holder::Hot(_)),
        restore::Fault::Disagrees(found) => changed(found),
        restore::Fault::Refused(refusal) => {
            matches!(refusal, restore::Refusal::Hot { .. } | restore::Refusal::NotEmpty { .. })
        }
        _ => false,
    }
}

/// How a drill ended that came to no verdict.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct RunError {
    /// Why.
    #[source]
    pub fault: Fault,
    /// False: nothing was touched, not even the journal.
    pub touched: bool,
}

/// What a restore's fault means for a drill: the backup is wanting, which is a verdict, or
/// something that a resume can cure.
///
/// # Errors
/// [`Fault`] for the latter.
pub fn judge(fault: restore::Fault) -> Result<Failing, Fault> {
    use restore::Fault as Of;
    match fault {
        Of::Wanting(wanting) => Ok(of_wanting(&wanting)),
        Of::Disagrees(disagreement) => Ok(of_disagreement(&disagreement)),
        refused @ (Of::Refused(_) | Of::NotReplayable { .. }) => {
            Ok(Failing { text: refused.to_string(), ..Failing::default() })
        }
        Of::Journal(error) => Err(error.into()),
        Of::Stopped => Err(Fault::Stopped),
        other @ (Of::Target(_)
        | Of::Catalog(_)
        | Of::Held(_)
        | Of::Unexpected(_)
        | Of::Again(_)) => Err(Fault::Restore(other)),
    }
}

fn of_wanting(wanting: &Wanting) -> Failing {
    let failing = Failing { text: wanting.to_string(), ..Failing::default() };
    match wanting {
        Wanting::Choice { damage, .. } => match &damage[..] {
            [only] => Failing {
                delta: Some(only.delta),
                message: Some((only.partition, only.offset)),
                ..failing
            },
            _ => failing,
        },
        Wanting::Order(_) => failing,
        Wanting::Changelog { delta } => Failing { delta: Some(*delta), ..failing },
        Wanting::Damaged { partition, offset, delta, table, .. } => Failing {
            delta: Some(*delta),
            table: Some(table.clone()),
            message: Some((*partition, *offset)),
            ..failing
        },
        Wanting::Lost { delta, table, .. } => {
            Failing { delta: Some(*delta), table: Some(table.clone()), ..failing }
        }
    }
}

fn of_disagreement(disagreement: &Disagreement) -> Failing {
    let failing = Failing { text: disagreement.to_string(), ..Failing::default() };
    match disagreement {
        Disagreement::IncrementGone { delta, .. } | Disagreement::Changed { delta, .. } => {
            Failing { delta: Some(*delta), ..failing }
        }
        Disagreement::Replay(_) => failing,
        Disagreement::Sums { delta, table, .. } | Disagreement::NoTable { delta, table } => {
            Failing { delta: Some(*delta), table: Some(table.clone()), ..failing }
        }
    }
}
