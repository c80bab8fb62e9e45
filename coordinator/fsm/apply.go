package fsm

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/format"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Apply applies one command, which Decode has let through, at an index. A client's command that was applied before
// under the same request id returns the first result and changes nothing; one of another kind under that id is refused.
func Apply(tx *state.Tx, index uint64, cmd *tandemv1.Command) (*tandemv1.Result, error) {
	if index <= tx.Index() {
		return nil, fmt.Errorf("%w: index %d after %d", format.ErrCorrupt, index, tx.Index())
	}
	tx.SetIndex(index)
	if id := cmd.GetRequestId(); id != "" {
		if before, ok := tx.Request(id); ok {
			return repeated(before, cmd, index), nil
		}
	}
	a := &applier{sight: sight{View: &tx.View, now: cmd.GetTime(), actor: cmd.GetActor()}, tx: tx}
	result, err := a.dispatch(cmd)
	if err != nil {
		return nil, err
	}
	a.followAll()
	result.Index = index
	if id := cmd.GetRequestId(); id != "" {
		tx.Put(&tandemv1.RequestRecord{RequestId: id, Result: result, Time: cmd.GetTime(), Command: kindOf(cmd), RequestSha256: cmd.GetRequestSha256()})
	}
	return result, nil
}

// sight is what the command at hand sees: the state as it is by now, and what the command says about itself. What only has this, as
// checks do, changes nothing.
type sight struct {
	*state.View
	now   *timestamppb.Timestamp
	actor string
}

// applier carries the command at hand out.
type applier struct {
	sight
	tx     *state.Tx
	events int      // events of this command so far
	behind []string // jobs that have to follow what has changed since they followed last, in the order of the changes
}

func (a *applier) dispatch(cmd *tandemv1.Command) (*tandemv1.Result, error) {
	switch c := cmd.GetCommand().(type) {
	case *tandemv1.Command_CreateJob:
		return answered(a.createJob(c.CreateJob)), nil
	case *tandemv1.Command_SetJobIntent:
		return answered(a.setJobIntent(c.SetJobIntent)), nil
	case *tandemv1.Command_ApplyPlan:
		return answered(a.applyPlan(c.ApplyPlan)), nil
	case *tandemv1.Command_ScaleJob:
		return answered(a.scaleJob(c.ScaleJob)), nil
	case *tandemv1.Command_UpdateJob:
		return answered(updateJob(a, c.UpdateJob)), nil
	case *tandemv1.Command_StopAllocation:
		return answered(stopAllocation(a, c.StopAllocation)), nil
	case *tandemv1.Command_ReformAllocation:
		return answered(a.reformAllocation(c.ReformAllocation)), nil
	case *tandemv1.Command_ApplyReports:
		return answered(a.applyReports(c.ApplyReports)), nil
	case *tandemv1.Command_DeleteJobs:
		return answered(a.deleteJobs(c.DeleteJobs)), nil
	case *tandemv1.Command_EmptyGarbage:
		return answered(a.emptyGarbage(c.EmptyGarbage)), nil
	case *tandemv1.Command_NoteSearched:
		return answered(a.noteSearched(c.NoteSearched)), nil
	case *tandemv1.Command_CreateDataset:
		return answered(a.createDataset(c.CreateDataset)), nil
	case *tandemv1.Command_DeleteDataset:
		return answered(a.deleteDataset(c.DeleteDataset)), nil
	case *tandemv1.Command_DeleteModel:
		return answered(a.deleteModel(c.DeleteModel)), nil
	case *tandemv1.Command_MarkCheckpoints:
		return answered(a.markCheckpoints(c.MarkCheckpoints)), nil
	case *tandemv1.Command_ForgetCheckpoints:
		return answered(a.forgetCheckpoints(c.ForgetCheckpoints)), nil
	case *tandemv1.Command_MoveAlias:
		return answered(a.moveAlias(c.MoveAlias)), nil
	case *tandemv1.Command_PutDeployment:
		return answered(a.putDeployment(c.PutDeployment)), nil
	case *tandemv1.Command_DropDeployment:
		return answered(a.dropDeployment(c.DropDeployment)), nil
	case *tandemv1.Command_ApplyRollout:
		return answered(a.applyRollout(c.ApplyRollout)), nil
	case *tandemv1.Command_PutRendezvous:
		return answered(a.putRendezvous(c.PutRendezvous)), nil
	case *tandemv1.Command_DecideSweep:
		return answered(a.decideSweep(c.DecideSweep)), nil
	case *tandemv1.Command_ExhaustSweep:
		return answered(a.exhaustSweep(c.ExhaustSweep)), nil
	case *tandemv1.Command_ExtendSweep:
		return answered(a.extendSweep(c.ExtendSweep)), nil
	case *tandemv1.Command_StopSweepTrial:
		return answered(a.stopSweepTrial(c.StopSweepTrial)), nil
	case *tandemv1.Command_Expire:
		return answered(a.expire(c.Expire)), nil
	case *tandemv1.Command_RaiseLevel:
		return a.raiseLevel(c.RaiseLevel)
	case *tandemv1.Command_Quarantine:
		return answered(a.quarantine(c.Quarantine)), nil
	case nil:
		if cmd.GetIgnorable() {
			return done(""), nil // of a version to come; it skips it too until all know it
		}
	}
	return a.dispatchCluster(cmd)
}

// dispatchCluster applies commands about the cluster itself: its members, keys and tokens.
func (a *applier) dispatchCluster(cmd *tandemv1.Command) (*tandemv1.Result, error) {
	switch c := cmd.GetCommand().(type) {
	case *tandemv1.Command_CreateCluster:
		return answered(a.createCluster(c.CreateCluster)), nil
	case *tandemv1.Command_RegisterNode:
		return answered(a.registerNode(c.RegisterNode)), nil
	case *tandemv1.Command_LoseNode:
		return answered(a.loseNode(c.LoseNode)), nil
	case *tandemv1.Command_CordonNode:
		return answered(a.cordonNode(c.CordonNode)), nil
	case *tandemv1.Command_LabelNode:
		return answered(labelNode(a, c.LabelNode)), nil
	case *tandemv1.Command_PutPool:
		return answered(putPool(a, c.PutPool)), nil
	case *tandemv1.Command_SetSlot:
		return answered(setSlot(a, c.SetSlot)), nil
	case *tandemv1.Command_RemoveNode:
		return answered(a.removeNode(c.RemoveNode)), nil
	case *tandemv1.Command_RemovePeer:
		return answered(a.removePeer(c.RemovePeer)), nil
	case *tandemv1.Command_PutToken:
		return answered(a.putToken(c.PutToken)), nil
	case *tandemv1.Command_DropToken:
		return answered(a.dropToken(c.DropToken)), nil
	case *tandemv1.Command_CreateProject:
		return answered(createProject(a, c.CreateProject)), nil
	case *tandemv1.Command_SetProject:
		return answered(setProject(a, c.SetProject)), nil
	case *tandemv1.Command_DeleteProject:
		return answered(deleteProject(a, c.DeleteProject)), nil
	case *tandemv1.Command_ObserveCoordinators:
		return answered(a.observeCoordinators(c.ObserveCoordinators)), nil
	case *tandemv1.Command_ChangeKeys:
		return answered(a.changeKeys(c.ChangeKeys)), nil
	case *tandemv1.Command_HoldKeys:
		return answered(a.holdKeys(c.HoldKeys)), nil
	case *tandemv1.Command_SetRetention:
		return answered(a.setRetention(c.SetRetention)), nil
	case *tandemv1.Command_PutStorage:
		return answered(a.putStorage(c.PutStorage)), nil
	case *tandemv1.Command_ObserveStore:
		return answered(a.observeStore(c.ObserveStore)), nil
	case *tandemv1.Command_ObserveClock:
		return answered(a.observeClock(c.ObserveClock)), nil
	case *tandemv1.Command_NoteExpiry:
		return answered(a.noteExpiry(c.NoteExpiry)), nil
	case *tandemv1.Command_AdmitNode:
		return answered(a.admitNode(c.AdmitNode)), nil
	case *tandemv1.Command_AnnounceProgram:
		return answered(a.announceProgram(c.AnnounceProgram)), nil
	}
	return nil, fmt.Errorf("%w: a command of kind %T", format.ErrCorrupt, cmd.GetCommand())
}
