package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"tandem.dev/cmd/tandem/quantity"
	"tandem.dev/proto/plain"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/worker/agent"
)

// sandboxOptions are the flags that say what confines the engines of a worker.
type sandboxOptions struct {
	uids        string
	read, write []string
	memoryMiB   int64
	diskMiB     int64
	without     []string
	require     bool
}

func (o *sandboxOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.uids, "engine-uids", "", "user ids that engines run as, such as 200000-200099, at least one for each slot; by default nobody (65534), and the agent's own user when that is not root")
	f.StringArrayVar(&o.read, "engine-read", nil, "folder or file that engines may read besides the system's libraries; may be given several times")
	f.StringArrayVar(&o.write, "engine-write", nil, "folder or file that engines may write besides their own scratch folder; may be given several times")
	quantity.Flag(f, &o.memoryMiB, "engine-memory-mib", 0, 0, quantity.MaxMiB,
		"MiB of memory that one engine may have on the host; 0: nine tenths of the machine's")
	quantity.Flag(f, &o.diskMiB, "engine-disk-mib", agent.DefaultConfig().EngineDisk>>20, 0, quantity.MaxMiB,
		"MiB of disk that the temporary files of one engine may take, checkpoints that wait for the store too; 0: no limit")
	f.StringSliceVar(&o.without, "sandbox-without", nil, "parts of the sandbox to do without: "+strings.Join(partNames(), ", "))
	f.BoolVar(&o.require, "require-sandbox", false, "do not run where a part of the sandbox is missing, but for those of --sandbox-without")
}

// apply puts the flags into the configuration of an agent.
func (o *sandboxOptions) apply(c *agent.Config) (err error) {
	if o.uids != "" {
		if c.EngineUsers, err = agent.ParseUsers(o.uids); err != nil {
			return &usageError{err}
		}
	}
	for _, name := range o.without {
		part, ok := parts()[name]
		if !ok {
			return &usageError{fmt.Errorf("--sandbox-without %s: want %s", name, strings.Join(partNames(), ", "))}
		}
		c.SandboxWithout = append(c.SandboxWithout, part)
	}
	c.EngineRead, c.EngineWrite, c.RequireSandbox = o.read, o.write, o.require
	c.EngineMemory, c.EngineDisk = o.memoryMiB<<20, o.diskMiB<<20
	return nil
}

// args are the flags again, for a worker that "up" starts.
func (o *sandboxOptions) args() []string {
	var args []string
	if o.uids != "" {
		args = append(args, "--engine-uids", o.uids)
	}
	for _, path := range o.read {
		args = append(args, "--engine-read", path)
	}
	for _, path := range o.write {
		args = append(args, "--engine-write", path)
	}
	if o.memoryMiB != 0 {
		args = append(args, "--engine-memory-mib", strconv.FormatInt(o.memoryMiB, 10))
	}
	if o.diskMiB != agent.DefaultConfig().EngineDisk>>20 {
		args = append(args, "--engine-disk-mib", strconv.FormatInt(o.diskMiB, 10))
	}
	for _, name := range o.without {
		args = append(args, "--sandbox-without", name)
	}
	if o.require {
		args = append(args, "--require-sandbox")
	}
	return args
}

// partName is the name of a part of the sandbox, as the schema has it.
func partName(p tandemv1.SandboxPart) string {
	return plain.Word(p)
}

// partNames lists all parts, in the order of the schema.
func partNames() []string {
	var names []string
	for i := int32(1); tandemv1.SandboxPart_name[i] != ""; i++ {
		names = append(names, partName(tandemv1.SandboxPart(i)))
	}
	return names
}

func parts() map[string]tandemv1.SandboxPart {
	all := map[string]tandemv1.SandboxPart{}
	for i, name := range partNames() {
		all[name] = tandemv1.SandboxPart(i + 1)
	}
	return all
}

// sandboxText says which parts of the sandbox a node has, and which it lacks.
func sandboxText(n *tandemv1.Node) string {
	has := map[string]bool{}
	for _, p := range n.GetSandbox() {
		has[partName(p)] = true
	}
	var here, missing []string
	for _, name := range partNames() {
		if has[name] {
			here = append(here, name)
		} else {
			missing = append(missing, name)
		}
	}
	text := "none"
	if len(here) > 0 {
		text = strings.Join(here, ", ")
	}
	if len(missing) > 0 {
		text += "; missing: " + strings.Join(missing, ", ")
	}
	return text
}
