package api

import (
	"bufio"
	"context"
	"slices"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/ckpt"
)

type checkpoints struct{ *API }

// ListCheckpoints implements CheckpointService.
func (a checkpoints) ListCheckpoints(ctx context.Context, req *connect.Request[tandemv1.ListCheckpointsRequest]) (*connect.Response[tandemv1.ListCheckpointsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	job := ""
	if ref := req.Msg.GetJobId(); ref != "" {
		j, err := v.ResolveJob(ref)
		if err != nil {
			return nil, err
		}
		job = j.GetId()
	}
	res := &tandemv1.ListCheckpointsResponse{}
	for _, c := range slices.Backward(v.Checkpoints()) {
		if job == "" || c.GetJobId() == job {
			res.Checkpoints = append(res.Checkpoints, c)
		}
	}
	return connect.NewResponse(res), nil
}

// GetCheckpoint implements CheckpointService.
func (a checkpoints) GetCheckpoint(ctx context.Context, req *connect.Request[tandemv1.GetCheckpointRequest]) (*connect.Response[tandemv1.GetCheckpointResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	c, err := v.ResolveCheckpoint(req.Msg.GetId())
	return answer(&tandemv1.GetCheckpointResponse{Checkpoint: c}, err)
}

// VerifyCheckpoint implements CheckpointService.
func (a checkpoints) VerifyCheckpoint(ctx context.Context, req *connect.Request[tandemv1.VerifyCheckpointRequest]) (*connect.Response[tandemv1.VerifyCheckpointResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	c, err := v.ResolveCheckpoint(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	store, err := a.deps.Store()
	if err != nil {
		return nil, err
	}
	_, err = ckpt.Verify(ctx, store, c.GetPrefix())
	return answer(&tandemv1.VerifyCheckpointResponse{}, err)
}

// DeleteCheckpoint implements CheckpointService. The objects are deleted by the leader's loop gc.
func (a checkpoints) DeleteCheckpoint(ctx context.Context, req *connect.Request[tandemv1.DeleteCheckpointRequest]) (*connect.Response[tandemv1.DeleteCheckpointResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	c, err := v.ResolveCheckpoint(req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	if need := v.CheckpointNeed(c); need != nil {
		return nil, &refusal{connect.CodeFailedPrecondition, &tandemv1.Reason{
			Code: tandemv1.Reason_CODE_CHECKPOINT_NEEDED, Args: map[string]string{"checkpoint": c.GetId()}, Cause: need,
		}}
	}
	// A command with one part is refused as a whole when that is.
	if _, _, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_MarkCheckpoints{MarkCheckpoints: &tandemv1.MarkCheckpoints{CheckpointIds: []string{c.GetId()}}},
	}); err != nil {
		return nil, err
	}
	return connect.NewResponse(&tandemv1.DeleteCheckpointResponse{}), nil
}

// PruneCheckpoints implements CheckpointService. The objects are deleted by the leader's loop gc.
func (a checkpoints) PruneCheckpoints(ctx context.Context, req *connect.Request[tandemv1.PruneCheckpointsRequest]) (*connect.Response[tandemv1.PruneCheckpointsResponse], error) {
	v, err := a.view(ctx)
	if err != nil {
		return nil, err
	}
	job := ""
	if ref := req.Msg.GetJobId(); ref != "" {
		j, err := v.ResolveJobToChange(ref)
		if err != nil {
			return nil, err
		}
		job = j.GetId()
	}
	res := &tandemv1.PruneCheckpointsResponse{Retention: v.Retention(job)}
	slices.Reverse(res.Retention)
	var ids []string
	for _, r := range res.GetRetention() {
		if !r.GetKeep() && !r.GetCheckpoint().GetDeleting() {
			ids = append(ids, r.GetCheckpoint().GetId())
		}
	}
	if req.Msg.GetDryRun() || len(ids) == 0 {
		return connect.NewResponse(res), nil
	}
	if _, _, err := a.write(ctx, req.Msg, &tandemv1.Command{
		Command: &tandemv1.Command_MarkCheckpoints{MarkCheckpoints: &tandemv1.MarkCheckpoints{CheckpointIds: ids}},
	}); err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

// weightsFile is a file that every checkpoint has for whoever downloads it: the model's tensors alone.
const weightsFile = "weights.safetensors"

// sendWeights streams the weights of a checkpoint. What was damaged shows at the end, as an error.
func sendWeights(ctx context.Context, store storage.Store, prefix string, stream *connect.ServerStream[tandemv1.DownloadArtifactResponse]) error {
	w := bufio.NewWriterSize(chunks{stream}, downloadChunk)
	if err := ckpt.WriteWeights(ctx, store, prefix, w); err != nil {
		return err
	}
	return w.Flush()
}

// chunks writes to a stream of chunks.
type chunks struct {
	stream *connect.ServerStream[tandemv1.DownloadArtifactResponse]
}

func (c chunks) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); sent += downloadChunk {
		if err := c.stream.Send(&tandemv1.DownloadArtifactResponse{Chunk: p[sent:min(sent+downloadChunk, len(p))]}); err != nil {
			return sent, err
		}
	}
	return len(p), nil
}
