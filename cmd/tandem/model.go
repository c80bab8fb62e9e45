package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/quantity"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) modelCommand() *cobra.Command {
	return group("model", "Show, publish, name, download and delete versions of models",
		a.modelListCommand(), a.modelDescribeCommand(), a.modelPublishCommand(), a.modelAliasCommand(), a.modelDownloadCommand(), a.modelDeleteCommand())
}

func (a *app) modelListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List models",
		Args:  want(),
		RunE: a.call(func(ctx context.Context, c *client.Client, _ []string) error {
			res, err := c.Models.ListModels(ctx, connect.NewRequest(&tandemv1.ListModelsRequest{}))
			if err != nil {
				return err
			}
			g := grid{header: []string{"NAME", "LATEST", "ALIASES", "AGE"}, empty: "No models. A job with `publish` in its spec makes one."}
			for _, m := range res.Msg.GetModels() {
				g.rows = append(g.rows, []string{m.GetName(), number(m.GetLatestVersion()), aliases(m, 0), age(m.GetCreatedAt())})
			}
			return a.show(res.Msg, g)
		}),
	}
}

// aliases of a model that point to a version; 0: all, with what they point to.
func aliases(m *tandemv1.Model, version int64) string {
	var names []string
	for _, alias := range m.GetAliases() {
		switch version {
		case 0:
			names = append(names, fmt.Sprintf("%s=%d", alias.GetName(), alias.GetVersion()))
		case alias.GetVersion():
			names = append(names, alias.GetName())
		}
	}
	return strings.Join(names, ", ")
}

func (a *app) modelDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "describe MODEL[@VERSION]",
		Short:             "Show a model and its versions, or one version (number or alias)",
		Args:              want("MODEL"),
		ValidArgsFunction: a.complete(modelNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if strings.Contains(args[0], "@") {
				return a.describeVersion(ctx, c, args[0])
			}
			res, err := c.Models.GetModel(ctx, connect.NewRequest(&tandemv1.GetModelRequest{Name: args[0]}))
			if err != nil {
				return err
			}
			m := res.Msg.GetModel()
			g := grid{title: "Versions", header: []string{"VERSION", "ALIASES", "METRICS", "DATASET", "JOB", "SIZE", "AGE", "ID"}, wide: 1}
			for _, v := range res.Msg.GetVersions() {
				l := v.GetLineage()
				g.rows = append(g.rows, []string{
					number(v.GetNumber()), aliases(m, v.GetNumber()), metrics(v.GetMetrics()), l.GetDataset(), l.GetJobId(),
					size(v.GetBytes()), age(v.GetCreatedAt()), v.GetId(),
				})
			}
			return a.show(res.Msg, fields{{"Model", m.GetName()}, {"First published", moment(m.GetCreatedAt())}, {"Aliases", aliases(m, 0)}}, g)
		}),
	}
}

func (a *app) describeVersion(ctx context.Context, c *client.Client, version string) error {
	res, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: version}))
	if err != nil {
		return err
	}
	v, l := res.Msg.GetVersion(), res.Msg.GetVersion().GetLineage()
	return a.show(res.Msg, fields{
		{"Version", fmt.Sprintf("%s@%d", v.GetModel(), v.GetNumber())}, {"Id", v.GetId()}, {"Published", moment(v.GetCreatedAt())},
		{"Metrics", metrics(v.GetMetrics())}, {"Size", size(v.GetBytes())}, {"Stored at", v.GetPrefix()},
		{"Manifest", "sha256 " + v.GetManifestSha256()},
		{"Job", l.GetJobId()}, {"Trial", l.GetTrialId()}, {"Checkpoint", fmt.Sprintf("%s, step %s", l.GetCheckpointId(), count(l.GetStep()))},
		{"Dataset", l.GetDataset() + " (" + l.GetDatasetId() + ")"}, {"Seed", number(l.GetSeed())}, {"Spec hash", l.GetSpecHash()},
	})
}

func (a *app) modelPublishCommand() *cobra.Command {
	var name, pool string
	var names []string
	var noWait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:               "publish CHECKPOINT --name MODEL",
		Short:             "Make a version of a model from a checkpoint",
		Args:              want("CHECKPOINT"),
		ValidArgsFunction: a.complete(checkpointNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if name == "" {
				return &usageError{fmt.Errorf("name the model with --name")}
			}
			s := &tandemv1.JobSpec{
				Name: "publish-" + short(name, 55), Kind: "publish",
				Publish: &tandemv1.PublishSpec{Model: name, Aliases: names, CheckpointId: args[0]},
			}
			if pool != "" {
				s.Resources = &tandemv1.ResourceSpec{Pool: pool}
			}
			_, err := a.submit(ctx, c, s, ".", submitOptions{wait: !noWait, timeout: timeout})
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "name of the model")
	f.StringSliceVar(&names, "alias", nil, "aliases that then point to the new version")
	f.StringVar(&pool, "pool", "", "pool to run in")
	f.BoolVar(&noWait, "no-wait", false, "do not wait until it is published")
	quantity.Flag(f, &timeout, "timeout", 0, quantity.LeastTimeout, 0, "wait so long at most")
	return cmd
}

func (a *app) modelAliasCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "alias MODEL@VERSION ALIAS | MODEL ALIAS --remove",
		Short: "Point an alias at a version; what is served under the alias follows",
		Example: `  tandem model alias digits@3 champion
  tandem model alias digits champion --remove`,
		Args:              want("MODEL", "ALIAS"),
		ValidArgsFunction: a.complete(modelNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			req := &tandemv1.SetAliasRequest{Alias: args[1], RequestId: a.newRequestID()}
			model, version, numbered := strings.Cut(args[0], "@")
			req.Model = model
			switch n, err := strconv.ParseInt(version, 10, 64); {
			case remove && numbered:
				return &usageError{fmt.Errorf("--remove takes the alias from the model: write %s without @%s", model, version)}
			case remove:
			case !numbered:
				return &usageError{fmt.Errorf("say which version: %s@NUMBER", model)}
			case err == nil && n > 0:
				req.Version = n
			default:
				v, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: args[0]}))
				if err != nil {
					return err
				}
				req.Version = v.Msg.GetVersion().GetNumber()
			}
			res, err := c.Models.SetAlias(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			done := fmt.Sprintf("%s@%s is version %d now", model, args[1], req.GetVersion())
			if remove {
				done = fmt.Sprintf("%s has no alias %s any more", model, args[1])
			}
			return a.show(res.Msg, text(done))
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the alias away")
	return cmd
}

func (a *app) modelDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete MODEL@VERSION... | MODEL...",
		Short: "Delete versions of models, for good",
		Long: `Delete a version of a model (MODEL@VERSION), or a model with all its versions (MODEL). A version that is served or has an alias is
refused, and a model that a job publishes to which has not ended. Version numbers are never reused.`,
		Example:           "  tandem model delete digits@3\n  tandem model delete digits",
		Args:              some("MODEL"),
		ValidArgsFunction: a.complete(modelNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			if err := a.confirm(fmt.Sprintf("Delete %s for good?", everyVersion("model", args))); err != nil {
				return err
			}
			for _, ref := range args {
				res, err := c.Models.DeleteModel(ctx, connect.NewRequest(&tandemv1.DeleteModelRequest{Model: ref, RequestId: a.newRequestID()}))
				if err != nil {
					return err
				}
				var names []string
				for _, v := range res.Msg.GetVersions() {
					names = append(names, fmt.Sprintf("%s@%d", v.GetModel(), v.GetNumber()))
				}
				if err := a.show(res.Msg, deleted(ref, names)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// everyVersion says what references to versions of models or datasets stand for, of which those without a version mean all.
func everyVersion(noun string, refs []string) string {
	var all []string
	for _, ref := range refs {
		if id := strings.HasPrefix(ref, "data-") && len(ref) == len("data-")+ulid.EncodedSize; !id && !strings.Contains(ref, "@") {
			ref = noun + " " + ref + " with all its versions"
		}
		all = append(all, ref)
	}
	return strings.Join(all, ", ")
}

// deleted says that versions are deleted, or, when there are none, that this was done before.
func deleted(ref string, versions []string) text {
	switch len(versions) {
	case 0:
		return text(ref + " is deleted")
	case 1:
		return text(versions[0] + " is deleted")
	}
	return text(fmt.Sprintf("%s are deleted", strings.Join(versions, ", ")))
}

// normalizedNote keeps people who load the model themselves from feeding it raw values.
const normalizedNote = text("model.pt takes normalised rows: (x - offset) / scale, with those of `normalization` in manifest.json. A served model does that itself.")

func (a *app) modelDownloadCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "download MODEL[@VERSION] --to FOLDER",
		Short: "Download a version: model.pt opens with torch.jit.load",
		Long: `Download a version: model.pt opens with torch.jit.load. It takes normalised rows, (x - offset) / scale; manifest.json says
with which offset and scale under "normalization", and what a row is made of. version.json says which version it is: its number, its
metrics and what it was made of.

Without @VERSION it takes the version that "tandem serve MODEL" serves: that of the alias champion if there is one, else the newest. It asks
before it replaces the files of another version in the folder.`,
		Args:              want("MODEL"),
		ValidArgsFunction: a.complete(modelNames),
		RunE: a.call(func(ctx context.Context, c *client.Client, args []string) error {
			res, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: args[0]}))
			if err != nil {
				return err
			}
			v := res.Msg.GetVersion()
			it := content{what: fmt.Sprintf("%s@%d", v.GetModel(), v.GetNumber()), owner: fmt.Sprintf("version/%s/%d", v.GetModel(), v.GetNumber()), manifest: v.GetManifestSha256()}
			switch target := res.Msg.GetTarget(); target {
			case "":
			case number(v.GetNumber()):
				a.say("This is %s, the newest version", it.what)
			default:
				a.say("This is %s, the alias %s", it.what, target)
			}
			if to == "" {
				to = fmt.Sprintf("%s-%d", v.GetModel(), v.GetNumber())
			}
			list, err := c.Artifacts.ListArtifacts(ctx, connect.NewRequest(&tandemv1.ListArtifactsRequest{Owner: it.owner}))
			if err != nil {
				return err
			}
			it.list = list.Msg
			record, err := encodeJSON(v)
			if err != nil {
				return err
			}
			it.made = map[string][]byte{"version.json": record}
			return a.downloadAll(ctx, c, it, to, normalizedNote)
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "folder; by default MODEL-VERSION")
	return cmd
}
