package api

import (
	"tandem.dev/proto/identity"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// level is who may call a procedure.
type level int

const (
	closed      level = iota // nobody: the procedure is not in the table
	open                     // anybody, without proof of who it is
	viewer                   // tokens of role viewer, user and admin
	user                     // tokens of role user and admin
	admin                    // tokens of role admin
	worker                   // certificates of workers
	coordinator              // certificates of coordinators
	operator                 // tokens of role admin and certificates of coordinators
)

// accessTo is the level of every procedure.
func accessTo(procedure string) level {
	switch procedure {
	case tandemv1connect.ClusterServiceJoinClusterProcedure:
		return open

	case tandemv1connect.JobServiceGetJobProcedure, tandemv1connect.JobServiceListJobsProcedure,
		tandemv1connect.JobServiceWatchJobProcedure, tandemv1connect.JobServiceStreamLogsProcedure,
		tandemv1connect.SweepServiceGetSweepProcedure, tandemv1connect.SweepServiceListTrialsProcedure,
		tandemv1connect.SweepServiceListSweepEventsProcedure,
		tandemv1connect.MetricServiceGetMetricsProcedure, tandemv1connect.MetricServiceGetTraceProcedure,
		tandemv1connect.DatasetServiceListDatasetsProcedure, tandemv1connect.DatasetServiceGetDatasetProcedure,
		tandemv1connect.ArtifactServiceListArtifactsProcedure, tandemv1connect.ArtifactServiceDownloadArtifactProcedure,
		tandemv1connect.CheckpointServiceListCheckpointsProcedure, tandemv1connect.CheckpointServiceGetCheckpointProcedure,
		tandemv1connect.ModelServiceListModelsProcedure, tandemv1connect.ModelServiceGetModelProcedure,
		tandemv1connect.ModelServiceGetVersionProcedure,
		tandemv1connect.DeploymentServiceListDeploymentsProcedure, tandemv1connect.DeploymentServiceGetDeploymentProcedure,
		tandemv1connect.DeploymentServiceWatchDeploymentProcedure,
		tandemv1connect.NodeServiceListNodesProcedure, tandemv1connect.NodeServiceGetNodeProcedure,
		tandemv1connect.NodeServiceListPoolsProcedure,
		tandemv1connect.EventServiceListEventsProcedure, tandemv1connect.ClusterServiceGetClusterProcedure:
		return viewer

	case tandemv1connect.JobServiceSubmitJobProcedure, tandemv1connect.JobServiceSetJobIntentProcedure,
		tandemv1connect.JobServiceScaleJobProcedure,
		tandemv1connect.SweepServiceExtendSweepProcedure, tandemv1connect.SweepServiceStopSweepTrialProcedure,
		tandemv1connect.DatasetServiceBeginDatasetProcedure, tandemv1connect.DatasetServiceCreateDatasetProcedure,
		tandemv1connect.ArtifactServiceUploadArtifactProcedure,
		tandemv1connect.CheckpointServiceVerifyCheckpointProcedure, tandemv1connect.CheckpointServiceDeleteCheckpointProcedure,
		tandemv1connect.CheckpointServicePruneCheckpointsProcedure,
		tandemv1connect.ModelServiceSetAliasProcedure,
		tandemv1connect.DeploymentServiceApplyDeploymentProcedure, tandemv1connect.DeploymentServiceDeleteDeploymentProcedure:
		return user

	case tandemv1connect.NodeServiceCordonNodeProcedure, tandemv1connect.NodeServiceRemoveNodeProcedure,
		tandemv1connect.TokenServiceCreateTokenProcedure, tandemv1connect.TokenServiceListTokensProcedure,
		tandemv1connect.TokenServiceRevokeTokenProcedure:
		return admin

	case tandemv1connect.ClusterServiceAddPeerProcedure, tandemv1connect.ClusterServiceRemovePeerProcedure:
		return operator

	case tandemv1connect.AgentServiceSessionProcedure, tandemv1connect.AgentServiceReportProcedure,
		tandemv1connect.AgentServiceReportProgressProcedure, tandemv1connect.AgentServiceRendezvousSetProcedure,
		tandemv1connect.AgentServiceRendezvousGetProcedure:
		return worker

	case tandemv1connect.PeerServiceProposeProcedure, tandemv1connect.PeerServiceReadIndexProcedure,
		tandemv1connect.PeerServiceShareProcedure:
		return coordinator
	}
	return closed
}

// may tells whether p may call what stands at a level.
func (p Principal) may(l level) bool {
	switch l {
	case open:
		return true
	case viewer:
		return p.Role == "viewer" || p.Role == "user" || p.Role == "admin"
	case user:
		return p.Role == "user" || p.Role == "admin"
	case admin:
		return p.Role == "admin"
	case worker:
		return p.Role == string(identity.RoleWorker)
	case coordinator:
		return p.Role == string(identity.RoleCoordinator)
	case operator:
		return p.may(admin) || p.may(coordinator)
	}
	return false
}
