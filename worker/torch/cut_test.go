package torch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"tandem.dev/worker/torch"
)

// cable joins two ranks of different hosts. It is cut when it has passed on so many bytes from rank 0 to rank 1: what follows is lost.
type cable struct {
	*board
	t    *testing.T
	pass int64
	ends bool          // both ranks see the connection end then; else it stays open
	cut  chan struct{} // closed then
}

// Get implements torch.Rendezvous for rank 1: where rank 0 has left its address, on 127.0.0.1, it finds that of the cable.
func (c *cable) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := c.board.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	value = bytes.Clone(value)
	if at := bytes.Index(value, []byte{127, 0, 0, 1}); at >= 4 { // of a sockaddr_in, behind family and port
		port := value[at-2 : at]
		binary.BigEndian.PutUint16(port, c.leadTo(binary.BigEndian.Uint16(port)))
	}
	return value, nil
}

// leadTo returns a port that leads to that of rank 0.
func (c *cable) leadTo(port uint16) uint16 {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		c.t.Error(err)
		return port
	}
	c.t.Cleanup(func() { _ = l.Close() })
	go func() {
		defer close(c.cut)
		one, err := l.AcceptTCP()
		if err != nil {
			return // nobody has come
		}
		c.t.Cleanup(func() { _ = one.Close() })
		zero, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
		if err != nil {
			c.t.Error(err)
			return
		}
		c.t.Cleanup(func() { _ = zero.Close() })
		if err := zero.SetReadBuffer(1 << 20); err != nil { // by itself the kernel may hold tens of MiB here, and rank 0 would be done
			c.t.Error(err)
		}
		back := make(chan struct{})
		go func() { defer close(back); _, _ = io.Copy(zero, one) }() // until a rank lets go
		if _, err := io.CopyN(one, zero, c.pass); err != nil {
			c.t.Error(err)
		}
		if c.ends {
			err := one.CloseWrite()
			<-back // rank 1 has seen it
			if err := errors.Join(err, zero.CloseWrite()); err != nil {
				c.t.Error(err)
			}
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// An abort wakes also who has sent or received a part of a message when the network is cut or the connection ends.
func TestAbortInTheMiddleOfAMessage(t *testing.T) {
	if !torch.WakesUnderWay() {
		t.Skip("Gloo's headers are not those that libtorch was built with, so its pairs cannot be looked into")
	}
	for name, ends := range map[string]bool{"packets are lost": false, "the connection ends": true} {
		t.Run(name, func(t *testing.T) { abortInTheMiddle(t, ends) })
	}
}

func abortInTheMiddle(t *testing.T, ends bool) {
	const message, timeout = 64 << 20, 30 * time.Second
	b := newBoard()
	c := &cable{board: b, t: t, pass: message / 2, ends: ends, cut: make(chan struct{})} // either half is more than the kernel's buffers hold on this way
	var groups [2]*torch.Group
	var all errgroup.Group
	for rank, r := range []torch.Rendezvous{b, c} {
		all.Go(func() (err error) {
			config := configOf(r, rank, 2).OnHost([]string{"a", "b"}[rank])
			config.BindAddress, config.Timeout = []string{"127.0.0.1", "127.0.0.2"}[rank], timeout
			groups[rank], err = torch.NewGroup(t.Context(), config)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	var done [2]chan error
	for rank, g := range groups {
		t.Cleanup(g.Close)
		done[rank] = make(chan error, 1)
		go func() {
			_, err := g.Broadcast(0, make([]byte, message))
			done[rank] <- err
		}()
	}
	<-c.cut
	begin := time.Now()
	for _, g := range groups {
		g.Abort("the cable is cut")
	}
	for rank, done := range done {
		err := <-done
		took := time.Since(begin)
		lost := ends && errors.Is(err, torch.ErrPeerLost) // gloo may see it first
		if !errors.Is(err, torch.ErrAborted) && !lost || took > timeout/2 {
			t.Errorf("rank %d, %v after the abort: %v, want ErrAborted long before the timeout of %v", rank, took, err, timeout)
		}
	}
}
