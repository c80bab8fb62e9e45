package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"tandem.dev/cmd/tandem/client"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

func (a *app) apiCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "api [METHOD] PATH | SERVICE/METHOD",
		Short: "Call any path or method of the API with the token of the context",
		Long: `Call the API as it is. PATH is a REST path; the METHOD is GET without --data, else POST. SERVICE/METHOD is a Connect
method; streams print one JSON object after the other. Without arguments all methods are listed with their paths.`,
		Example: `  tandem api /v1/jobs
  tandem api delete /v1/checkpoints/ckpt-01h... --data '{}'
  tandem api JobService/ListJobs --data '{"limit": 3}'
  tandem api JobService/WatchJob --data '{"id": "digits"}'`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.run(func(context.Context, []string) error { return a.listMethods() })(cmd, args)
			}
			return a.call(func(ctx context.Context, c *client.Client, args []string) error {
				body, err := a.apiBody(data)
				if err != nil {
					return err
				}
				if !strings.HasPrefix(args[len(args)-1], "/") && len(args) == 1 {
					return a.callMethod(ctx, c, args[0], body)
				}
				return a.callPath(ctx, c, args, body)
			})(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&data, "data", "d", "", "JSON to send; @FILE reads a file, @- standard input")
	return cmd
}

func (a *app) apiBody(data string) ([]byte, error) {
	var b []byte
	var err error
	switch name, file := strings.CutPrefix(data, "@"); {
	case data == "":
		return nil, nil
	case !file:
		b = []byte(data)
	default:
		b, err = a.read(name, maxInput)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("read data: %w", err)}
	}
	if !json.Valid(b) {
		return nil, &usageError{fmt.Errorf("the data is not valid JSON")}
	}
	return b, nil
}

func (a *app) callPath(ctx context.Context, c *client.Client, args []string, body []byte) error {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	if len(args) == 2 {
		method = strings.ToUpper(args[0])
	}
	answer, err := c.REST(ctx, method, args[len(args)-1], body, method == http.MethodGet)
	if err != nil {
		return err
	}
	return a.writeAnswer(answer)
}

// writeAnswer writes JSON indented, or as YAML; what is not JSON as it came.
func (a *app) writeAnswer(answer []byte) error {
	var out bytes.Buffer
	if json.Indent(&out, bytes.TrimSpace(answer), "", "  ") != nil {
		_, err := a.out.Write(answer)
		return err
	}
	out.WriteByte('\n')
	return a.writeJSON(out.Bytes())
}

// services are all services a client may call.
func services() []protoreflect.ServiceDescriptor {
	var all []protoreflect.ServiceDescriptor
	for _, f := range []protoreflect.FileDescriptor{
		tandemv1.File_tandem_v1_job_proto, tandemv1.File_tandem_v1_sweep_proto, tandemv1.File_tandem_v1_metric_proto, tandemv1.File_tandem_v1_dataset_proto, tandemv1.File_tandem_v1_artifact_proto,
		tandemv1.File_tandem_v1_checkpoint_proto, tandemv1.File_tandem_v1_model_proto, tandemv1.File_tandem_v1_deployment_proto,
		tandemv1.File_tandem_v1_node_proto, tandemv1.File_tandem_v1_token_proto, tandemv1.File_tandem_v1_event_proto,
		tandemv1.File_tandem_v1_cluster_proto,
	} {
		for i := range f.Services().Len() {
			all = append(all, f.Services().Get(i))
		}
	}
	return all
}

func (a *app) listMethods() error {
	g := grid{header: []string{"METHOD", "REST", "TAKES"}}
	for _, s := range services() {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			g.rows = append(g.rows, []string{string(s.Name()) + "/" + string(m.Name()), restPath(m), takes(m)})
		}
	}
	g.write(a.out, a.view())
	return nil
}

func restPath(m protoreflect.MethodDescriptor) string {
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok {
		return ""
	}
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return "GET " + p.Get
	case *annotations.HttpRule_Post:
		return "POST " + p.Post
	case *annotations.HttpRule_Delete:
		return "DELETE " + p.Delete
	}
	return ""
}

func takes(m protoreflect.MethodDescriptor) string {
	var names []string
	for i := range m.Input().Fields().Len() {
		names = append(names, string(m.Input().Fields().Get(i).Name()))
	}
	return strings.Join(names, ", ")
}

// callMethod calls a Connect method by its name.
func (a *app) callMethod(ctx context.Context, c *client.Client, name string, body []byte) error {
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "tandem.v1."), "/")
	var m protoreflect.MethodDescriptor
	for _, s := range services() {
		if string(s.Name()) == service {
			m = s.Methods().ByName(protoreflect.Name(method))
		}
	}
	if m == nil || m.IsStreamingClient() {
		return &usageError{fmt.Errorf("no method %q can be called from here: `tandem api` lists them", name)}
	}
	in := dynamicpb.NewMessage(m.Input())
	if body != nil {
		if err := plain.Unmarshal(body, in); err != nil {
			return &usageError{fmt.Errorf("the data is not a valid %s: %w", m.Input().Name(), err)}
		}
	}
	procedure := client.BaseURL + "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	caller := connect.NewClient[dynamicpb.Message, dynamicpb.Message](c.HTTP, procedure, connect.WithSchema(m),
		connect.WithResponseInitializer(func(spec connect.Spec, msg any) error {
			if d, ok := msg.(*dynamicpb.Message); ok {
				*d = *dynamicpb.NewMessage(m.Output())
			}
			return nil
		}), client.Bounded())
	if !m.IsStreamingServer() {
		res, err := caller.CallUnary(ctx, connect.NewRequest(in))
		if err != nil {
			return err
		}
		return a.showJSON(res.Msg)
	}
	stream, err := caller.CallServerStream(ctx, connect.NewRequest(in))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if err := a.showJSON(stream.Msg()); err != nil {
			return err
		}
	}
	return stream.Err()
}

func (a *app) showJSON(m proto.Message) error {
	b, err := encodeJSON(m)
	if err != nil {
		return err
	}
	return a.writeAnswer(b)
}
