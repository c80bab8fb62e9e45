package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/cmd/tandem/printable"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/memstore"
)

const (
	// demoAccuracy is what the demo's model must reach on images it has not seen.
	demoAccuracy = 0.97
	// demoTime is the most the demo may take.
	demoTime = 5 * time.Minute
)

// demo shows one job from data to prediction on a cluster of its own, and leaves nothing behind.
func (a *app) demo(ctx context.Context, o upOptions) (err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, demoTime, fmt.Errorf("the demo was stopped after %s: is this machine busy with other work?", demoTime))
	defer cancel()
	for _, name := range []string{"digits.csv", "job.yaml"} {
		if _, err := os.Stat(filepath.Join(o.demoDir, name)); err != nil {
			return &usageError{fmt.Errorf("the demo needs its data and its job: %w; run it in the project's folder, or name theirs with --demo-dir", err)}
		}
	}
	dir, err := os.MkdirTemp("", "tandem-demo-*")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	o.listen = "127.0.0.1:0"
	fmt.Fprintln(a.out, "Tandem, from data to prediction in one go. Nothing of it stays on this machine.")

	a.heading(1, fmt.Sprintf("A cluster on this machine: a coordinator, %s, an S3 store", several(o.workers, "worker")))
	cl, err := a.startCluster(ctx, dir, o)
	if err != nil {
		return errors.Join(err, a.clearDemo(dir, err))
	}
	defer func() {
		if err != nil {
			a.say("\nStopping ...")
		}
		cl.stop()
		err = errors.Join(err, a.clearDemo(dir, err))
		if err == nil {
			fmt.Fprintf(a.out, "\nEverything was stopped and removed. It took %s in all.\n", duration(time.Since(begun)))
		}
	}()
	fmt.Fprintf(a.out, "Up after %s at https://%s: TLS, tokens and certificates are in place.\n", duration(time.Since(begun)), cl.folder.Settings.Listen)
	c, err := cl.client()
	if err != nil {
		return err
	}
	defer c.Close()
	// Commands that are shown name the files of this cluster, not those of the user.
	own := *a
	own.getenv = func(name string) string {
		if name == "TANDEM_CONFIG" {
			return cl.folder.Path(adminFile)
		}
		return ""
	}
	return own.demoSteps(ctx, c, o)
}

// clearDemo removes the demo's folder, or says where to look when something failed.
func (a *app) clearDemo(dir string, failed error) error {
	if failed != nil && !errors.Is(failed, context.Canceled) && !errors.Is(failed, errInterrupted) {
		a.say("The logs are kept in %s.", filepath.Join(dir, "logs"))
		return nil
	}
	return os.RemoveAll(dir)
}

func (a *app) heading(n int, title string) {
	fmt.Fprintf(a.out, "\n%s\n", a.bold(fmt.Sprintf("%d. %s", n, title)))
}

// bold stands out on a terminal.
func (a *app) bold(text string) string {
	if !a.terminal || a.getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

func (a *app) demoSteps(ctx context.Context, c *client.Client, o upOptions) error {
	file := filepath.Join(o.demoDir, "digits.csv")
	a.heading(2, "A dataset from "+file+": 8x8 images of handwritten digits")
	options := dataset.DefaultOptions()
	options.Label, options.Shape, options.Normalize = "label", []int64{1, 8, 8}, dataset.Normalize{Method: dataset.MethodScale, Factor: 1.0 / 16}
	// The report goes where the story goes.
	told := *a
	told.err = a.out
	made, err := told.makeDataset(ctx, c, datasetSource{name: "digits", from: file, options: options})
	if err != nil {
		return err
	}

	job := filepath.Join(o.demoDir, "job.yaml")
	a.heading(3, "A small convolutional network, trained by two processes that average their gradients ("+job+")")
	s, err := a.loadSpec(job, nil)
	if err != nil {
		return err
	}
	done, err := a.submit(ctx, c, s, o.demoDir, submitOptions{wait: true, ephemeral: true})
	if err != nil {
		return err
	}

	model := s.GetPublish().GetModel()
	a.heading(4, fmt.Sprintf("The best checkpoint is published as %s, alias champion; serve it", done.GetPublishedVersion()))
	version, err := c.Models.GetVersion(ctx, connect.NewRequest(&tandemv1.GetVersionRequest{Version: model + "@champion"}))
	if err != nil {
		return err
	}
	applied, err := c.Deployments.ApplyDeployment(ctx, connect.NewRequest(&tandemv1.ApplyDeploymentRequest{
		Model: model + "@champion", Replicas: 1, RequestId: a.newRequestID(),
	}))
	if err != nil {
		return err
	}
	served, err := a.awaitDeployment(ctx, c, applied.Msg.GetDeployment(), time.Minute)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s@champion is served by %s at https://%s/v2/models/%s\n", model, several(ready(served), "replica"), c.Endpoint(), model)

	a.heading(5, "An image the network has never seen, and what it is")
	if err := a.demoPrediction(ctx, c, model, made.GetDataset().GetId()); err != nil {
		return err
	}

	accuracy := version.Msg.GetVersion().GetMetrics()["test_accuracy"]
	fmt.Fprintln(a.out, a.bold(fmt.Sprintf("Accuracy on the %s images of the test split: %.4f", count(made.GetDataset().GetRows()[dataset.Test]), accuracy)))
	if accuracy < demoAccuracy {
		failed := &tandemv1.Job{Id: done.GetId(), State: tandemv1.JobState_JOB_STATE_FAILED, Reason: fmt.Sprintf("the accuracy is %.4f, at least %.2f is expected", accuracy, demoAccuracy)}
		return &jobError{failed}
	}
	fmt.Fprintf(a.out, `
What to try next:
  %[1]s up                           the same cluster, to stay; then in a second terminal
  %[1]s dataset create digits --from %[2]s --label label --normalize scale:1/16 --shape 1,8,8
  %[1]s submit -f %[3]s --set training.seed=2 --wait
  %[1]s model describe digits
  %[1]s serve digits@champion
  %[1]s predict digits --input %[2]s --row 7
  %[1]s --help
`, a.name, printable.Quoted(file), printable.Quoted(job))
	return nil
}

// demoPrediction takes an image of the test split, draws it and asks the served model what it is.
func (a *app) demoPrediction(ctx context.Context, c *client.Client, model, datasetID string) error {
	m, t, err := a.testSplit(ctx, c, datasetID)
	if err != nil {
		return err
	}
	row := t.Rows / 2
	image := t.Features[row*t.FeatureDim : (row+1)*t.FeatureDim]
	for line := range strings.Lines(draw(image, int(m.Shape[len(m.Shape)-1]))) {
		fmt.Fprint(a.out, "    ", line)
	}
	q, err := newQuestion(ctx, c, model, [][]float32{image}, 1, nil)
	if err != nil {
		return err
	}
	path := "/v2/models/" + model + "/infer"
	fmt.Fprintf(a.out, "\n%s\n", a.curl(c, path, q))
	p, err := q.ask(ctx, c, path)
	if err != nil {
		return err
	}
	labels, probabilities, _, err := p.rows()
	if err != nil {
		return err
	}
	if len(labels) != 1 || len(probabilities) != 1 {
		return fmt.Errorf("the prediction has no label: %.300s", p.text)
	}
	expected := strconv.FormatInt(t.Labels[row], 10)
	if len(m.ClassNames) > 0 {
		expected = m.ClassNames[t.Labels[row]]
	}
	fmt.Fprintf(a.out, "\n%s with probability %.4f (it is a %s)\n", a.bold("Prediction: "+labels[0]), top(probabilities[0]), expected)
	return nil
}

// testSplit downloads the test split of a dataset.
func (a *app) testSplit(ctx context.Context, c *client.Client, id string) (dataset.Manifest, *dataset.Table, error) {
	store := memstore.New(memstore.Config{})
	fetch := func(name string) error {
		stream, err := c.Artifacts.DownloadArtifact(ctx, connect.NewRequest(&tandemv1.DownloadArtifactRequest{Owner: "dataset/" + id, Name: name}))
		if err != nil {
			return err
		}
		defer stream.Close()
		var b bytes.Buffer
		for stream.Receive() {
			b.Write(stream.Msg().GetChunk())
		}
		if err := stream.Err(); err != nil {
			return err
		}
		return store.Put(ctx, "digits/"+name, &b, int64(b.Len()))
	}
	if err := fetch(dataset.ManifestName); err != nil {
		return dataset.Manifest{}, nil, err
	}
	d, err := dataset.Open(ctx, store, "digits")
	if err != nil {
		return dataset.Manifest{}, nil, err
	}
	split, _ := d.Manifest.Split(dataset.Test)
	for _, shard := range split.Shards {
		if err := fetch(shard.Key); err != nil {
			return dataset.Manifest{}, nil, err
		}
	}
	t, err := d.Split(ctx, dataset.Test)
	if err != nil {
		return dataset.Manifest{}, nil, err
	}
	if t.Rows == 0 {
		return dataset.Manifest{}, nil, errors.New("the test split is empty")
	}
	return d.Manifest, t, nil
}

// draw shows an image of one channel in shades; each pixel is two characters wide, which makes it about square.
func draw(pixels []float32, width int) string {
	shades := []string{"  ", "░░", "▒▒", "▓▓", "██"}
	low, high := pixels[0], pixels[0]
	for _, p := range pixels {
		low, high = min(low, p), max(high, p)
	}
	var b strings.Builder
	for i, p := range pixels {
		shade := 0
		if high > low {
			shade = int((p - low) / (high - low) * float32(len(shades)-1) * 1.0001)
		}
		b.WriteString(shades[min(shade, len(shades)-1)])
		if i%width == width-1 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}
