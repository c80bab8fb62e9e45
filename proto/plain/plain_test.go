package plain_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestForm: the keys, numbers and words of one answer, to the letter.
func TestForm(t *testing.T) {
	restarts, decay := int32(0), 0.01
	job := &tandemv1.Job{
		Id: "job-1", Name: "<a&b>", Kind: tandemv1.JobKind_JOB_KIND_TRAIN, State: tandemv1.JobState_JOB_STATE_RUNNING, ModifiedIndex: math.MaxUint64,
		CreatedAt: &timestamppb.Timestamp{Seconds: 1},
		Why:       &tandemv1.Reason{Code: tandemv1.Reason_CODE_TEXT, Args: map[string]string{"b": "2", "a": "1"}},
		Spec: &tandemv1.JobSpec{
			Name: "x", MaxRestarts: &restarts, Training: &tandemv1.TrainingSpec{Seed: 1<<53 + 1, Optimizer: &tandemv1.OptimizerSpec{Lr: 1e-7, WeightDecay: &decay}},
		},
	}
	got, err := plain.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"job-1","name":"<a&b>","kind":"train",` +
		`"spec":{"name":"x","training":{"optimizer":{"lr":1e-07,"weight_decay":0.01},"seed":9007199254740993},"max_restarts":0},` +
		`"spec_hash":"","state":"running","intent":"unspecified","reason":"","trial_ids":[],"submitted_by":"","created_at":"1970-01-01T00:00:01Z",` +
		`"started_at":null,"finished_at":null,"published_version":"","modified_index":18446744073709551615,"workers":0,"replay":null,` +
		`"why":{"code":"text","args":{"a":"1","b":"2"}},"aliases_kept":[],"project":"","logs_deleted_at":null,"logs_kept_for":null,"priority":null,"pool":null,"after":[],"labels":{},"note":""}`
	if strings.ReplaceAll(string(got), `,"cause":null`, "") != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestBothWays: every message of the schema, with all fields set and with none, comes out as JSON that reads as the same message, plainly
// and as protojson writes it.
func TestBothWays(t *testing.T) {
	n := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Messages().Len() {
			d := f.Messages().Get(i)
			full := dynamicpb.NewMessage(d)
			fill(full, 0)
			for _, m := range []proto.Message{full, dynamicpb.NewMessage(d)} {
				b, err := plain.Marshal(m)
				if err != nil || !json.Valid(b) {
					t.Fatalf("%s: %v: %s", d.FullName(), err, b)
				}
				usual, err := protojson.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				for _, text := range [][]byte{b, usual} {
					back := dynamicpb.NewMessage(d)
					if err := plain.Unmarshal(text, back); err != nil || !proto.Equal(m, back) {
						t.Errorf("%s: %v\n%s", d.FullName(), err, text)
					}
				}
				n++
			}
		}
		return true
	})
	if n < 200 {
		t.Errorf("%d messages were tried", n)
	}
}

// fill sets all fields of a message.
func fill(m protoreflect.Message, depth int) {
	if m.Descriptor().ParentFile().Package() == "google.protobuf" {
		wellKnown(m)
		return
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case depth > 4 && f.Message() != nil:
		case f.IsMap():
			v := m.NewField(f).Map()
			key := map[bool]protoreflect.Value{true: protoreflect.ValueOfString("key"), false: protoreflect.ValueOfInt32(7)}[f.MapKey().Kind() == protoreflect.StringKind]
			if f.MapKey().Kind() == protoreflect.Int64Kind {
				key = protoreflect.ValueOfInt64(7)
			}
			v.Set(key.MapKey(), sample(f.MapValue(), v.NewValue, depth))
			m.Set(f, protoreflect.ValueOfMap(v))
		case f.IsList():
			v := m.NewField(f).List()
			v.Append(sample(f, v.NewElement, depth))
			v.Append(sample(f, v.NewElement, depth))
			m.Set(f, protoreflect.ValueOfList(v))
		default:
			m.Set(f, sample(f, func() protoreflect.Value { return m.NewField(f) }, depth))
		}
	}
}

func wellKnown(m protoreflect.Message) {
	switch m.Descriptor().Name() {
	case "Timestamp", "Duration":
		m.Set(m.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(5))
	case "Value":
		m.Set(m.Descriptor().Fields().ByName("string_value"), protoreflect.ValueOfString("1"))
	case "Struct", "ListValue":
		b, _ := proto.Marshal(map[protoreflect.Name]proto.Message{
			"Struct":    &structpb.Struct{Fields: map[string]*structpb.Value{"a.b": structpb.NewNumberValue(0.5)}},
			"ListValue": &structpb.ListValue{Values: []*structpb.Value{structpb.NewBoolValue(true), structpb.NewStringValue("JOB_KIND_TRAIN")}},
		}[m.Descriptor().Name()])
		_ = proto.Unmarshal(b, m.Interface())
	}
}

func sample(f protoreflect.FieldDescriptor, fresh func() protoreflect.Value, depth int) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.MessageKind:
		v := fresh()
		fill(v.Message(), depth+1)
		return v
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("ü \"\u2028\x01 <")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, 255, 254})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.Inf(-1))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(0.1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(math.MinInt32)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(math.MinInt64)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(math.MaxUint64)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(math.MaxUint32)
	}
	panic(f.Kind())
}

// TestWords: each value of each enum has a word of its own, which is no full name, and which names it again.
func TestWords(t *testing.T) {
	enums := func(e protoreflect.EnumDescriptor) {
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			word := plain.Word(dynamicEnum{v})
			if n, ok := plain.Number(e, word); !ok || n != v.Number() || word == strings.ToLower(string(v.Name())) {
				t.Errorf("%s: %q names %v, %v", v.FullName(), word, n, ok)
			}
			if n, ok := plain.Number(e, string(v.Name())); !ok || n != v.Number() {
				t.Errorf("%s is not known by its name", v.FullName())
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Enums().Len() {
			enums(f.Enums().Get(i))
		}
		for i := range f.Messages().Len() {
			for j := range f.Messages().Get(i).Enums().Len() {
				enums(f.Messages().Get(i).Enums().Get(j))
			}
		}
		return true
	})
	if _, ok := plain.Number(tandemv1.JobState(0).Descriptor(), "Running"); ok {
		t.Error("a word with a capital letter is taken")
	}
}

type dynamicEnum struct {
	protoreflect.EnumValueDescriptor
}

func (e dynamicEnum) Descriptor() protoreflect.EnumDescriptor {
	return e.Parent().(protoreflect.EnumDescriptor)
}
func (e dynamicEnum) Type() protoreflect.EnumType { return nil }

// TestNames: only words of enums are replaced; what is wrong stays where it is, for its place is named in the error.
func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		` {"intent" : "pause", "id":"pause"}`:                      ` {"intent" : "JOB_INTENT_PAUSE", "id":"pause"}`,
		`{"intent":"JOB_INTENT_PAUSE"}`:                            `{"intent":"JOB_INTENT_PAUSE"}`,
		`{"intent":2,"intent":"run","x":{"intent":"run"}}`:         `{"intent":2,"intent":"JOB_INTENT_RUN","x":{"intent":"run"}}`,
		`{"intent":"pause"`:                                        `{"intent":"pause"`,
		`["pause"]`:                                                `["pause"]`,
		`{"intent":"stop"}`:                                        `{"intent":"stop"}`,
		`{"intent":"r\u0075n","request_id":` + "\n" + `null}`:      `{"intent":"JOB_INTENT_RUN","request_id":` + "\n" + `null}`,
		strings.Repeat(`[`, 100_000):                               strings.Repeat(`[`, 100_000),
		`{"x":` + strings.Repeat(`{"a":`, 100_000):                 `{"x":` + strings.Repeat(`{"a":`, 100_000),
		`{"id":"a","intent":null,"requestId":"b"} {"intent":"run"`: `{"id":"a","intent":null,"requestId":"b"} {"intent":"run"`,
	} {
		if got := string(plain.Names([]byte(in), &tandemv1.SetJobIntentRequest{})); got != want {
			t.Errorf("%.60s: %.100s, want %.100s", in, got, want)
		}
	}
	got := plain.Names([]byte(`{"states":["running", "JOB_STATE_FAILED",3]}`), &tandemv1.ListJobsRequest{})
	if want := `{"states":["JOB_STATE_RUNNING", "JOB_STATE_FAILED",3]}`; string(got) != want {
		t.Errorf("%s", got)
	}
	if err := plain.Unmarshal([]byte(`{"intnt":"run"}`), &tandemv1.SetJobIntentRequest{}); err == nil {
		t.Error("an unknown key is dropped")
	}
}
