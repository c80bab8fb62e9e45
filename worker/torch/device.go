package torch

// #include "shim.h"
import "C"

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// DeviceInfo describes a device of this machine.
type DeviceInfo struct {
	Device      Device
	Name        string // the model, as the driver or the kernel says it
	MemoryBytes int64
	Cores       int    // of a CPU
	Capability  string // of a CUDA device, e.g. "9.0"
}

// Devices lists the CPU and every CUDA device that libtorch can use.
func Devices() ([]DeviceInfo, error) {
	var n C.int32_t
	if err := check(C.tdm_device_count(&n)); err != nil {
		return nil, err
	}
	list := []DeviceInfo{{
		Device: CPU, Name: procField("/proc/cpuinfo", "model name"), MemoryBytes: memoryBytes(), Cores: runtime.NumCPU(),
	}}
	for i := range int(n) {
		var info C.tdm_device_info
		if err := check(C.tdm_device_get(C.int32_t(i), &info)); err != nil {
			return nil, err
		}
		list = append(list, DeviceInfo{
			Device: Device{CUDA: true, Index: i}, Name: C.GoString(&info.name[0]), MemoryBytes: int64(info.memory_bytes),
			Capability: strconv.Itoa(int(info.major)) + "." + strconv.Itoa(int(info.minor)),
		})
	}
	return list, nil
}

// BuildInfo says what this program was linked with.
type BuildInfo struct {
	Torch      string  // libtorch's version
	CUDA       bool    // built for CUDA
	Gloo       bool    // several ranks on CPUs are possible
	NCCL       int     // NCCL_VERSION_CODE, 0 without
	BLAS       string  // file name of the matrix library that is loaded
	GFLOPS     float64 // of a float32 matrix product on this machine
	BLASIsSlow bool    // a reference BLAS, some 35 times slower than OpenBLAS; never OpenBLAS or MKL on a busy machine
}

// Build reports libtorch's version and abilities, and measures the BLAS (some milliseconds; 0.2 s with a slow one).
func Build() (BuildInfo, error) {
	const side = 512
	// OpenBLAS reaches 20 GFLOPS and more on one core, the reference BLAS 1 to 2.
	const slowGFLOPS = 5
	b := C.tdm_build_info()
	var seconds C.double
	if err := check(C.tdm_matmul_seconds(side, &seconds)); err != nil {
		return BuildInfo{}, err
	}
	gflops := 2 * side * side * side / float64(seconds) / 1e9
	blas := loadedBLAS()
	known := strings.HasPrefix(blas, "libopenblas") || strings.HasPrefix(blas, "libmkl")
	return BuildInfo{
		Torch: C.GoString(&b.version[0]), CUDA: b.cuda != 0, Gloo: b.gloo != 0, NCCL: int(b.nccl_version),
		BLAS: blas, GFLOPS: gflops, BLASIsSlow: gflops < slowGFLOPS && !known,
	}, nil
}

// loadedBLAS finds the BLAS among this process's mapped files; libopenblas
// behind a libblas.so.3 that only forwards to it comes first.
func loadedBLAS() string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	found := ""
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		name := filepath.Base(fields[len(fields)-1])
		switch {
		case strings.HasPrefix(name, "libopenblas"), strings.HasPrefix(name, "libmkl_rt"), strings.HasPrefix(name, "libmkl_core"):
			return name
		case strings.HasPrefix(name, "libblas.so"):
			found = name
		}
	}
	return found
}

func memoryBytes() int64 {
	kb, _, _ := strings.Cut(procField("/proc/meminfo", "MemTotal"), " ")
	n, err := strconv.ParseInt(kb, 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// procField is the value of the first "name: value" line of a file, "" without.
func procField(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
