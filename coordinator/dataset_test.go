package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage"
	"tandem.dev/storage/dataset"
	"tandem.dev/storage/layout"
	"tandem.dev/storage/memstore"
)

// toyFiles are the files of "toy" by name, 100 rows, two classes, two features, and the hash of its manifest.
func toyFiles(t *testing.T) (files map[string][]byte, manifest string) {
	t.Helper()
	var csv bytes.Buffer
	csv.WriteString("a,b,y\n")
	for i := range 100 {
		fmt.Fprintf(&csv, "%d,%d,%d\n", i, i*i%17, i%2)
	}
	o := dataset.DefaultOptions()
	o.Label = "y"
	files = map[string][]byte{}
	_, _, err := dataset.FromCSV(t.Context(), &csv, o, func(name string, data []byte) error {
		files[name] = data
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, sum(files[dataset.ManifestName])
}

// uploadDataset begins a dataset and uploads its files.
func uploadDataset(t *testing.T, r *running, c *http.Client, files map[string][]byte) (id string) {
	t.Helper()
	begun, err := tandemv1connect.NewDatasetServiceClient(c, r.url()).BeginDataset(t.Context(), connect.NewRequest(&tandemv1.BeginDatasetRequest{Name: "toy"}))
	if err != nil {
		t.Fatal(err)
	}
	id = begun.Msg.GetId()
	for name, data := range files {
		if _, err := upload(t, tandemv1connect.NewArtifactServiceClient(c, r.url()), shardHeader(id, name, data), data); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

func shardHeader(dataset, name string, data []byte) *tandemv1.UploadArtifactHeader {
	return &tandemv1.UploadArtifactHeader{Size: int64(len(data)), Sha256: sum(data), DatasetId: dataset, Name: name}
}

// makeDataset makes "toy".
func makeDataset(t *testing.T, r *running, c *http.Client) *tandemv1.Dataset {
	t.Helper()
	files, manifest := toyFiles(t)
	res, err := tandemv1connect.NewDatasetServiceClient(c, r.url()).CreateDataset(t.Context(), connect.NewRequest(&tandemv1.CreateDatasetRequest{
		Name: "toy", Id: uploadDataset(t, r, c, files), ManifestSha256: manifest, RequestId: "d1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	return res.Msg.GetDataset()
}

// TestACommittedDatasetDoesNotChange: an upload that begins before the dataset is committed and ends after it does not change it, and a
// request that comes again gets the same answer.
func TestACommittedDatasetDoesNotChange(t *testing.T) {
	const shard = "train-00000.arrow"
	puts := make(chan string, 100)
	store := memstore.New(memstore.Config{Now: time.Now, Hook: func(_ context.Context, op memstore.Op) memstore.Fault {
		if op.Kind == memstore.OpPut {
			puts <- op.Key
		}
		return memstore.Fault{}
	}})
	r := start(t, testConfig(filepath.Join(t.TempDir(), "c")), store)
	c := r.admin(t)
	files, manifest := toyFiles(t)
	id := uploadDataset(t, r, c, files)
	for len(puts) > 0 {
		<-puts
	}
	other := bytes.Clone(files[shard])
	other[len(other)/2] ^= 1
	late := tandemv1connect.NewArtifactServiceClient(c, r.url()).UploadArtifact(t.Context())
	last := len(other) - 1
	_ = late.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Header{Header: shardHeader(id, shard, other)}})
	_ = late.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: other[:last]}})
	<-puts // it has begun

	ds := tandemv1connect.NewDatasetServiceClient(c, r.url())
	create := func(request string) (*tandemv1.Dataset, error) {
		res, err := ds.CreateDataset(t.Context(), connect.NewRequest(&tandemv1.CreateDatasetRequest{Name: "toy", Id: id, ManifestSha256: manifest, RequestId: request}))
		if err != nil {
			return nil, err
		}
		return res.Msg.GetDataset(), nil
	}
	made, err := create("r1")
	if err != nil {
		t.Fatal(err)
	}
	for key := range store.List(t.Context(), layout.Uploads) {
		t.Errorf("%s is left", key.Key)
	}
	_ = late.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: other[last:]}})
	if _, err := late.CloseAndReceive(); err != nil {
		t.Fatal(err) // it was good when it began
	}
	for name, want := range files {
		if got, err := storage.ReadAll(t.Context(), store, made.GetPrefix()+"/"+name, 1<<20); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has changed: %v", name, err)
		}
	}
	if again, err := create("r1"); err != nil || again.GetVersion() != 1 {
		t.Errorf("the same request again: %v, %v", again, err)
	}
	_, err = create("r2")
	wantCode(t, err, connect.CodeAlreadyExists, id)
	_, err = upload(t, tandemv1connect.NewArtifactServiceClient(c, r.url()), shardHeader(id, shard, other), other)
	wantCode(t, err, connect.CodeFailedPrecondition, "committed")
}

// TestADatasetThatIsNotRightIsTheClientsFault: it is refused as his request, and not as a loss of data.
func TestADatasetThatIsNotRightIsTheClientsFault(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	files, manifest := toyFiles(t)
	id := uploadDataset(t, r, c, files)
	ds := tandemv1connect.NewDatasetServiceClient(c, r.url())
	commit := func(manifest string) error {
		_, err := ds.CreateDataset(t.Context(), connect.NewRequest(&tandemv1.CreateDatasetRequest{Name: "toy", Id: id, ManifestSha256: manifest}))
		return err
	}
	put := func(name string, data []byte) {
		t.Helper()
		if _, err := upload(t, tandemv1connect.NewArtifactServiceClient(c, r.url()), shardHeader(id, name, data), data); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, commit(sum(nil)), connect.CodeFailedPrecondition, "upload it again")
	put("test-00000.arrow", []byte("no arrow file"))
	wantCode(t, commit(manifest), connect.CodeInvalidArgument, "test-00000.arrow")
	for _, bad := range [][]byte{[]byte("{}"), []byte("rubbish"), bytes.Replace(files[dataset.ManifestName], []byte("train"), []byte("trane"), 1)} {
		put(dataset.ManifestName, bad)
		wantCode(t, commit(sum(bad)), connect.CodeInvalidArgument, "manifest")
	}
	list, err := ds.ListDatasets(t.Context(), connect.NewRequest(&tandemv1.ListDatasetsRequest{}))
	if err != nil || len(list.Msg.GetDatasets()) != 0 {
		t.Errorf("there are %v, %v", list.Msg.GetDatasets(), err)
	}
	// The same id is good once the files are.
	for name, data := range files {
		put(name, data)
	}
	if err := commit(manifest); err != nil {
		t.Error(err)
	}
}
