package line

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// maxCalls is how many connections and requests for files one process may hold at a time. An engine needs some ten.
const maxCalls = 128

// Files opens what a process asks for. The caller closes the file. A *connect.Error goes to the process with its code. ctx ends when nobody waits.
type Files func(ctx context.Context, r *tandemv1.FileRequest) (*os.File, error)

// Host is the agent's end of the line to one process.
type Host struct {
	conn  *net.UnixConn
	calls chan struct{} // a place for each that is held
}

// New makes a line: the agent's end, and the file that the process inherits as Descriptor. The caller closes that once the process runs.
func New() (*Host, *os.File, error) {
	mine, theirs, err := pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return nil, nil, err
	}
	defer mine.Close() // FileConn has its own
	conn, err := net.FileConn(mine)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a line: %w", err), theirs.Close())
	}
	return &Host{conn: conn.(*net.UnixConn), calls: make(chan struct{}, maxCalls)}, theirs, nil // a pair is nothing else
}

// Close hangs up: Serve returns.
func (h *Host) Close() error { return h.conn.Close() }

// Serve passes each connection of the process on to accept, which must not block, and answers its requests by files, until the line
// ends; then it waits for the requests. accept owns the connection.
func (h *Host) Serve(ctx context.Context, accept func(net.Conn), files Files) {
	ctx, cancel := context.WithCancel(ctx)
	defer h.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = h.conn.Close() })()
	var requests sync.WaitGroup
	defer requests.Wait()
	defer cancel()
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, flags, _, err := h.conn.ReadMsgUnix(b, oob)
		if err != nil || n == 0 {
			return // the process is gone, or Close
		}
		socket, err := descriptor(oob[:oobn])
		if err != nil || flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 {
			if socket != nil {
				_ = socket.Close()
			}
			continue // it is the process that waits in vain
		}
		c, err := net.FileConn(socket)
		_ = socket.Close() // FileConn has its own
		if err != nil {
			continue
		}
		conn, ok := c.(*net.UnixConn)
		if !ok || !h.take() {
			_ = c.Close()
			continue
		}
		switch b[0] {
		case askDial:
			accept(&held{UnixConn: conn, release: sync.OnceFunc(h.release)})
		case askFile:
			var r tandemv1.FileRequest
			err := proto.Unmarshal(b[1:n], &r)
			requests.Go(func() {
				defer h.release()
				respond(ctx, conn, &r, err, files)
			})
		default:
			_ = conn.Close()
			h.release()
		}
	}
}

func (h *Host) take() bool {
	select {
	case h.calls <- struct{}{}:
		return true
	default:
		return false
	}
}

func (h *Host) release() { <-h.calls }

// held is a connection that gives its place back when it is closed.
type held struct {
	*net.UnixConn
	release func()
}

func (c *held) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// respond answers one request. err is what was wrong with it already.
func respond(ctx context.Context, conn *net.UnixConn, r *tandemv1.FileRequest, err error, files Files) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone := make(chan struct{})
	go func() { // nothing more comes but the end
		defer close(gone)
		var b [1]byte
		_, _ = conn.Read(b[:])
		cancel()
	}()
	defer func() {
		_ = conn.Close() // the answer was sent, or nobody waits for it
		<-gone
	}()
	var f *os.File
	if err != nil {
		err = connect.NewError(connect.CodeInvalidArgument, err)
	} else {
		f, err = files(ctx, r)
	}
	var response tandemv1.FileResponse
	var rights []byte
	if err != nil {
		response.Code, response.Message = int32(connect.CodeOf(err)), messageOf(err)
	} else {
		defer f.Close() // the process has its own when it is sent
		response.Ok, rights = true, unix.UnixRights(int(f.Fd()))
	}
	body, err := proto.Marshal(&response)
	if err != nil {
		return
	}
	_, _, _ = conn.WriteMsgUnix(body, rights, nil) // whoever asked may be gone
}

// messageOf is the text of an error, short enough for a message.
func messageOf(err error) string {
	text := err.Error()
	var coded *connect.Error
	if errors.As(err, &coded) {
		text = coded.Message()
	}
	const most = 2000
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
