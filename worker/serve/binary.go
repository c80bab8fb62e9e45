package serve

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"tandem.dev/proto/inference"
)

// split parts the body of a request where its header inference.HeaderLength says: JSON first, then the data of tensors. Without the
// header, or when that covers the body, all of it is JSON.
func split(body []byte, header string) (text, data []byte, err error) {
	if header == "" {
		return body, nil, nil
	}
	n, err := strconv.ParseInt(header, 10, 64)
	if err != nil || n < 1 || n > int64(len(body)) {
		return nil, nil, fmt.Errorf("the header %s is %.40q; it must be how many of the %d bytes of the body are JSON", inference.HeaderLength, header, len(body))
	}
	return body[:n:n], body[n:], nil
}

// floats reads want values of FP32, little endian, which are all of data.
func floats(data []byte, size int64, shape []int64, want int) ([]float32, error) {
	switch {
	case size != 4*int64(want):
		return nil, fmt.Errorf("binary_data_size is %d; shape %v of FP32 needs %d bytes", size, shape, 4*want)
	case size != int64(len(data)):
		return nil, fmt.Errorf("binary_data_size is %d, but %d bytes follow the JSON, whose length the header %s says", size, len(data), inference.HeaderLength)
	}
	out := make([]float32, want)
	for i := range out {
		v := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		if v-v != 0 {
			return nil, fmt.Errorf("element %d is %v: send finite numbers", i, v)
		}
		out[i] = v
	}
	return out, nil
}

// appendBinary appends the data of an output as they follow the JSON of an answer: numbers little endian, each string after its length.
func appendBinary(b []byte, data any) []byte {
	switch data := data.(type) {
	case []float32:
		for _, v := range data {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	case []int64:
		for _, v := range data {
			b = binary.LittleEndian.AppendUint64(b, uint64(v)) //nolint:gosec // its bits
		}
	case []string:
		for _, s := range data {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(s))) //nolint:gosec // a class has a short name
			b = append(b, s...)
		}
	}
	return b
}
