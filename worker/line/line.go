package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// Descriptor is the number of the inherited end of the line in an engine's process.
const Descriptor = 3

// ExitUnreadable is the exit code of a process that libtorch has crashed while it read a stranger's file. It cannot say so in a call.
const ExitUnreadable = 4

// Line is the engine's end. Make it with Open. Its methods may be called by several goroutines at a time.
type Line struct{ conn *net.UnixConn }

// Open takes the end of the line that this process has inherited under the number fd.
func Open(fd uintptr) (*Line, error) {
	unix.CloseOnExec(int(fd))
	f := os.NewFile(fd, "line")
	if f == nil {
		return nil, fmt.Errorf("open the line to the agent: descriptor %d is not one", fd)
	}
	defer f.Close() // FileConn has its own
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open the line to the agent: %w; engines are started by their agent", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("open the line to the agent: descriptor %d is another kind of socket; engines are started by their agent", fd), c.Close())
	}
	return &Line{conn: conn}, nil
}

// Close hangs up.
func (l *Line) Close() error { return l.conn.Close() }

// Dial makes a connection that the agent serves.
func (l *Line) Dial(context.Context) (net.Conn, error) {
	conn, err := l.call([]byte{askDial})
	if err != nil {
		return nil, fmt.Errorf("call the agent: %w", err)
	}
	return conn, nil
}

// File asks the agent for a file and returns it open. An error of the agent is a *connect.Error with its code.
func (l *Line) File(ctx context.Context, r *tandemv1.FileRequest) (*os.File, error) {
	body, err := proto.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("ask the agent for a file: %w", err)
	}
	if len(body) >= maxMessage {
		return nil, fmt.Errorf("ask the agent for a file: a request of %d bytes is too long", len(body))
	}
	conn, err := l.call(append([]byte{askFile}, body...))
	if err != nil {
		return nil, fmt.Errorf("ask the agent for a file: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // the agent sees that nobody waits
	f, err := answer(conn)
	if ctx.Err() != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, ctx.Err()
	}
	return f, err
}

// answer reads what the agent says to a request for a file.
func answer(conn *net.UnixConn) (*os.File, error) {
	b, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	n, oobn, flags, _, err := conn.ReadMsgUnix(b, oob)
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("wait for the agent's answer: %w", err)
	}
	var f *os.File
	if oobn > 0 {
		if f, err = descriptor(oob[:oobn]); err != nil {
			return nil, err
		}
	}
	var response tandemv1.FileResponse
	err = proto.Unmarshal(b[:n], &response)
	if flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 {
		err = errors.Join(err, errForm)
	}
	switch {
	case err != nil:
	case !response.GetOk():
		err = connect.NewError(connect.Code(response.GetCode()), errors.New(response.GetMessage()))
	case f == nil:
		err = fmt.Errorf("%w: no file came", errForm)
	default:
		return f, nil
	}
	if f != nil {
		_ = f.Close()
	}
	return nil, err
}

// call sends a message with one end of a new pair of sockets, and returns the other.
func (l *Line) call(message []byte) (*net.UnixConn, error) {
	kind := syscall.SOCK_STREAM
	if message[0] == askFile {
		kind = syscall.SOCK_SEQPACKET
	}
	mine, theirs, err := pair(kind)
	if err != nil {
		return nil, err
	}
	defer theirs.Close() // the agent has it when it is sent
	c, err := net.FileConn(mine)
	_ = mine.Close() // FileConn has its own
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UnixConn) // a pair is nothing else
	if _, _, err := l.conn.WriteMsgUnix(message, unix.UnixRights(int(theirs.Fd())), nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
