//! Which lines can follow which: blocks after headers, and clauses after clauses.

use super::super::blocks::Change;
use super::{Clause, Form};

/// Reads the lines of one statement, such as a function with its decorators.
pub(in super::super) struct Clauses {
    /// The open blocks; the first one has the statement itself.
    open: Vec<Block>,
    /// After a header, until its block is opened.
    header: bool,
}

/// What was read last in a block.
#[derive(Clone, Copy, Default)]
enum Block {
    /// A whole statement, or nothing.
    #[default]
    Whole,
    /// Decorators.
    Decorated,
    /// A clause after which others can follow.
    After(Clause),
    /// The `else` of a `try`, after which only `finally` can follow.
    AfterElseOfTry,
}

impl Block {
    /// Whether what was read is a whole statement.
    fn is_whole(self) -> bool {
        !matches!(self, Block::Decorated | Block::After(Clause::Try))
    }

    /// After one more clause; None where that cannot follow.
    fn followed_by(self, clause: Clause) -> Option<Block> {
        use Clause::{Definition, Elif, Else, Except, ExceptStar, Finally, If, Loop, Try, With};
        match (self, clause) {
            (Block::Decorated, Definition) => Some(Block::Whole),
            (Block::Decorated, _) => None,
            (Block::After(If | Elif), Elif) => Some(Block::After(Elif)),
            (Block::After(If | Elif | Loop), Else) => Some(Block::Whole),
            (Block::After(Except | ExceptStar), Else) => Some(Block::AfterElseOfTry),
            (Block::After(Try | Except), Except) => Some(Block::After(Except)),
            (Block::After(Try | ExceptStar), ExceptStar) => Some(Block::After(ExceptStar)),
            (Block::After(Try | Except | ExceptStar) | Block::AfterElseOfTry, Finally) => Some(Block::Whole),
            (_, Elif | Else | Except | ExceptStar | Finally) | (Block::After(Try), _) => None,
            (_, Definition | With) => Some(Block::Whole),
            (_, If | Loop | Try) => Some(Block::After(clause)),
        }
    }
}

impl Clauses {
    /// Before the first line.
    pub(in super::super) fn new() -> Self {
        Clauses { open: vec![Block::default()], header: false }
    }

    /// Whether a line can follow. `change`: how it changes the blocks; None for the first one.
    pub(in super::super) fn follow(&mut self, change: Option<&Change>, form: Form) -> bool {
        if self.header != change.is_some_and(Change::opens) {
            return false;
        }
        if self.header {
            self.open.push(Block::default());
        }
        for _ in 0..change.map_or(0, Change::closes) {
            if !self.open.pop().is_some_and(Block::is_whole) {
                return false;
            }
        }
        let Some(block) = self.open.last_mut() else { return false };
        let next = match form {
            Form::Simple => block.is_whole().then_some(Block::Whole),
            Form::Decorator => (!matches!(block, Block::After(Clause::Try))).then_some(Block::Decorated),
            Form::Clause { clause, .. } => block.followed_by(clause),
        };
        self.header = matches!(form, Form::Clause { inline: false, .. });
        next.map(|next| *block = next).is_some()
    }

    /// Whether the statement can end here.
    pub(in super::super) fn are_whole(&self) -> bool {
        !self.header && self.open.iter().all(|block| block.is_whole())
    }
}
