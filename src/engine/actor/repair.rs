//! Repairs, each in a transaction of its own.

use std::time::Duration;

use super::EngineActor;
use crate::base::error::Result;
use crate::base::ids::DocumentName;
use crate::engine::decide::repair::RepairPlan;
use crate::engine::refusal::not_stored;
use crate::engine::request::{RememberedDocument, RepairRequest, RepairSource, RepairedDocument};
use crate::engine::state::round::Round;
use crate::store::{Batch, DocumentRepair};

impl EngineActor {
    /// Repairs a document and answers.
    pub(super) fn repair(&mut self, request: RepairRequest) {
        let RepairRequest { name, source, remembered, reply } = request;
        let outcome = self.repair_document(&name, source, remembered);
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    }

    fn repair_document(
        &mut self,
        name: &DocumentName,
        source: RepairSource,
        remembered: RememberedDocument,
    ) -> Result<RepairedDocument> {
        let mut round = Round::default();
        self.decider(&mut round).check_repair(name)?;
        if self.state.backlog.is_failing() {
            // What somebody else has appended keeps the engine from storing anything; that alone is repaired then.
            self.disk.reopen_for_repair().map_err(|fault| not_stored().caused_by(fault))?;
        }
        self.disk.drop_page_cache()?;
        let plan = self.decider(&mut round).plan_repair(name, source, remembered)?;
        if plan.adds_event() {
            return self.repair_with_event(plan, round);
        }
        self.write_repair(plan.rows.clone())?;
        self.state.documents.snapshot_taken(name, self.options.clock.now());
        Ok(plan.repaired())
    }

    /// Writes rows together with a new event, and tells everybody of it.
    fn repair_with_event(&mut self, plan: RepairPlan, mut round: Round) -> Result<RepairedDocument> {
        if self.state.backlog.is_failing() {
            return Err(not_stored());
        }
        self.disk.try_repair(&plan.rows)?;
        let repaired = self.decider(&mut round).repair_with_event(plan)?;
        self.complete_round(round, Duration::ZERO);
        Ok(repaired)
    }

    /// Writes rows without a new event.
    fn write_repair(&mut self, repair: DocumentRepair) -> Result<()> {
        self.disk.try_repair(&repair)?;
        let batch = Batch { repairs: vec![repair], ..Batch::default() };
        if self.state.backlog.is_failing() {
            self.disk.commit_repair(&batch).map_err(|fault| not_stored().caused_by(fault))?;
            self.retry();
            return Ok(());
        }
        self.disk.commit(&mut self.state, &batch, &mut std::iter::empty()).map_err(|fault| {
            self.disk.degrade(&mut self.state, &fault);
            not_stored().caused_by(fault)
        })
    }
}
