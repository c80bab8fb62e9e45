package consensus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"tandem.dev/coordinator/coordtest"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// The register is the reason of a trial that waits.
type registerOp struct {
	write bool
	value string
}

var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(now, input, output any) (bool, any) {
		if op := input.(registerOp); op.write {
			return true, op.value
		}
		return output.(string) == now.(string), now
	},
	DescribeOperation: func(input, output any) string {
		if op := input.(registerOp); op.write {
			return "write " + op.value
		}
		return fmt.Sprint("read ", output)
	},
}

func TestReadsAreLinearizable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 3
		c := coordtest.New(t, peers)
		defer c.Stop()
		var mu sync.Mutex
		var history []porcupine.Operation
		var clock atomic.Int64 // real order; virtual time has many events at one instant
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for client := range 6 {
			clients.Go(func() {
				rng := rand.New(rand.NewPCG(11, uint64(client)))
				for n := 0; ctx.Err() == nil; n++ {
					op := porcupine.Operation{ClientId: client, Call: clock.Add(1)}
					if rng.IntN(3) == 0 {
						value := fmt.Sprintf("%d-%d", client, n)
						op.Input = registerOp{write: true, value: value}
						writeRegister(c, rng, value)
					} else {
						op.Input = registerOp{}
						op.Output = readRegister(c, rng)
					}
					op.Return = clock.Add(1)
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
					time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
				}
			})
		}
		did := disturb(c, rand.New(rand.NewPCG(5, 5)), 40)
		cancel()
		clients.Wait()
		if len(history) < 500 {
			t.Errorf("only %d operations", len(history))
		}
		if porcupine.CheckOperationsTimeout(register, history, time.Minute) != porcupine.Ok {
			t.Error("the reads are not linearizable")
		}
		t.Logf("seed 5, %d operations, faults %v", len(history), did)
	})
}

// writeRegister makes the value the newest version of a dataset. It tries until the write is acknowledged; the request id makes it one write.
func writeRegister(c *coordtest.Cluster, rng *rand.Rand, value string) {
	for {
		ctx, done := context.WithTimeout(context.Background(), time.Second)
		_, err := c.Node(rng.IntN(c.Len())).Propose(ctx, &tandemv1.Command{RequestId: value, Command: &tandemv1.Command_CreateDataset{
			CreateDataset: &tandemv1.CreateDataset{Dataset: &tandemv1.Dataset{Id: value, Name: "register", Prefix: value}},
		}})
		done()
		if err == nil {
			return
		}
	}
}

func readRegister(c *coordtest.Cluster, rng *rand.Rand) string {
	for {
		ctx, done := context.WithTimeout(context.Background(), time.Second)
		v, err := c.Node(rng.IntN(c.Len())).View(ctx)
		done()
		if err == nil {
			versions := v.DatasetsOf("register")
			if len(versions) == 0 {
				return ""
			}
			return versions[len(versions)-1].GetId()
		}
	}
}
