package engine

import (
	"github.com/rs/zerolog"

	"tandem.dev/worker/torch"
)

// devices is what "tandem-engine devices" prints.
type devices struct {
	LibtorchVersion string   `json:"libtorch_version"`
	CUDA            bool     `json:"cuda"` // libtorch was built for it
	NCCL            int      `json:"nccl_version,omitempty"`
	Gloo            bool     `json:"gloo"`
	BLAS            string   `json:"blas"`
	BLASIsSlow      bool     `json:"blas_is_slow"`
	GFLOPS          float64  `json:"gflops"` // of a float32 matrix product on the CPU
	Devices         []device `json:"devices"`
}

type device struct {
	Kind        string `json:"kind"` // "cpu" or "cuda"
	Index       int32  `json:"index"`
	Name        string `json:"name"`
	MemoryBytes int64  `json:"memory_bytes"`
	Cores       int    `json:"cores,omitempty"`
	Capability  string `json:"capability,omitempty"`
}

func discover() (devices, error) {
	if err := torch.Init(torch.Options{}); err != nil {
		return devices{}, err
	}
	build, err := torch.Build()
	if err != nil {
		return devices{}, err
	}
	found, err := torch.Devices()
	if err != nil {
		return devices{}, err
	}
	d := devices{
		LibtorchVersion: build.Torch, CUDA: build.CUDA, NCCL: build.NCCL, Gloo: build.Gloo,
		BLAS: build.BLAS, BLASIsSlow: build.BLASIsSlow, GFLOPS: build.GFLOPS, Devices: []device{},
	}
	for _, f := range found {
		kind := "cpu"
		if f.Device.CUDA {
			kind = "cuda"
		}
		d.Devices = append(d.Devices, device{
			Kind: kind, Index: int32(f.Device.Index), Name: f.Name, MemoryBytes: f.MemoryBytes, Cores: f.Cores, Capability: f.Capability,
		})
	}
	return d, nil
}

// bestDevice is the first CUDA device that the agent lets this process see, else the CPU.
func bestDevice() (torch.Device, error) {
	found, err := torch.Devices()
	if err != nil {
		return torch.CPU, err
	}
	for _, f := range found {
		if f.Device.CUDA {
			return f.Device, nil
		}
	}
	return torch.CPU, nil
}

// warnOfSlowBLAS says so where steps on the CPU take many times what they need to.
func warnOfSlowBLAS(log zerolog.Logger) {
	build, err := torch.Build()
	if err != nil || !build.BLASIsSlow {
		return // what fails here fails the training too, and is told there
	}
	log.Warn().Str("blas", build.BLAS).Float64("gflops", build.GFLOPS).
		Msg("the matrix library of this node is a slow one, training on its CPU takes some 30 times as long: install libopenblas0-pthread there")
}
