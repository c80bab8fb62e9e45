package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) checkpointDownloadCommand() *cobra.Command {
	var to string
	var weights bool
	cmd := &cobra.Command{
		Use:   "download CHECKPOINT --to FOLDER",
		Short: "Download the files of a checkpoint, or the model's weights",
		Long: "Downloads all files of a checkpoint, or with --weights-only the parameters and buffers of the model as one\n" +
			"safetensors file, under the names that PyTorch has for them. The folder gets them when all have arrived, and\n" +
			"nothing before. Before the files of another checkpoint are replaced it asks; weights are replaced.",
		Args:              want("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Checkpoints.GetCheckpoint(ctx, connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: args[0]}))
			if err != nil {
				return err
			}
			k := res.Msg.GetCheckpoint()
			if k.GetDeleting() {
				return deletedError(k, "is being deleted")
			}
			if to == "" {
				to = k.GetId()
			}
			if weights {
				err = a.downloadWeights(ctx, c, k, to)
			} else {
				err = a.downloadCheckpoint(ctx, c, k, to)
			}
			return deletedMeanwhile(ctx, c, k, err)
		}),
	}
	cmd.Flags().BoolVar(&weights, "weights-only", false, "only the model's weights, as one safetensors file")
	cmd.Flags().StringVar(&to, "to", "", "folder; by default one named like the checkpoint")
	return cmd
}

// downloadCheckpoint receives all files of a checkpoint into a folder.
func (a *app) downloadCheckpoint(ctx context.Context, c *client.Client, k *tandemv1.Checkpoint, dir string) error {
	owner := "checkpoint/" + k.GetId()
	list, err := c.Artifacts.ListArtifacts(ctx, connect.NewRequest(&tandemv1.ListArtifactsRequest{Owner: owner}))
	if err != nil {
		return err
	}
	// A list that was made while files went is too short. None goes before the checkpoint is marked.
	there, err := isThere(ctx, c, k)
	if err != nil {
		return err
	}
	if !there {
		return deletedError(k, deletedOnTheWay)
	}
	return a.downloadAll(ctx, c, content{what: k.GetId(), owner: owner, list: list.Msg, manifest: k.GetManifestSha256()}, dir)
}

// downloadWeights receives the weights of a checkpoint into a folder.
func (a *app) downloadWeights(ctx context.Context, c *client.Client, k *tandemv1.Checkpoint, dir string) error {
	const name = "weights.safetensors"
	bar := a.transferBar("Downloading", 0)
	defer bar.Close()
	if err := download(ctx, c, "checkpoint/"+k.GetId(), []string{name}, nil, dir, bar); err != nil {
		return err
	}
	bar.Close()
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return a.show(&tandemv1.Artifact{Name: path, Bytes: info.Size()}, text(fmt.Sprintf("the weights, %s, are in %s", size(info.Size()), path)))
}

const deletedOnTheWay = "was deleted while it was downloaded"

// deletedMeanwhile says that the checkpoint was deleted where that is why a download failed. It passes other errors, and nil, on.
func deletedMeanwhile(ctx context.Context, c *client.Client, k *tandemv1.Checkpoint, err error) error {
	switch connect.CodeOf(err) {
	case connect.CodeNotFound:
	case connect.CodeDataLoss: // the coordinator makes the weights of files that the manifest promised it
	default:
		return err
	}
	if there, asked := isThere(ctx, c, k); there || asked != nil {
		return err
	}
	return deletedError(k, deletedOnTheWay)
}

// isThere tells whether a checkpoint is neither deleted nor about to be.
func isThere(ctx context.Context, c *client.Client, k *tandemv1.Checkpoint) (bool, error) {
	res, err := c.Checkpoints.GetCheckpoint(ctx, connect.NewRequest(&tandemv1.GetCheckpointRequest{Id: k.GetId()}))
	if connect.CodeOf(err) == connect.CodeNotFound {
		return false, nil
	}
	return err == nil && !res.Msg.GetCheckpoint().GetDeleting(), err
}

// deletedError says what became of a checkpoint that cannot be downloaded any more, and what to do.
func deletedError(k *tandemv1.Checkpoint, what string) error {
	return connect.NewError(connect.CodeNotFound, fmt.Errorf("checkpoint %s %s, by the retention of its job (checkpoint.keep) or with `tandem checkpoint delete`; "+
		"nothing of it was kept here. `tandem checkpoint list --job %s` shows which there are, and `tandem checkpoint prune %s --dry-run` which of them stay; "+
		"a larger checkpoint.keep in the job's spec keeps more", k.GetId(), what, k.GetJobId(), k.GetJobId()))
}
