package s3

import (
	"io"
	"net/http"
	"sync"
)

// lender is the transport that minio-go has. Below it net/http may read the body of a request for some time after the request
// has its answer: a server that is busy answers before it has taken all. minio-go by then winds the same body back for the next
// try, and who called Put uses its memory again. So each try gets the body on loan, and gives it back when it is over, which is
// when it failed or when its answer is closed; not before, for an answer cannot be read to its end on a connection whose
// request broke off.
type lender struct{ http.RoundTripper }

func (l lender) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return l.RoundTripper.RoundTrip(req)
	}
	body := &loan{body: req.Body}
	req = req.WithContext(req.Context()) // a copy, for the caller's own must not change
	req.Body = body
	res, err := l.RoundTripper.RoundTrip(req)
	if err != nil {
		_ = body.Close() // what it says is of no interest any more
		return nil, err
	}
	res.Body = answered{res.Body, body}
	return res, nil
}

// loan is a body that nobody reads once it is closed, whoever closes it: Close waits for a Read that is under way.
type loan struct {
	mu   sync.Mutex
	body io.ReadCloser // nil once it is given back
}

// Read fails when the loan is over. It is not io.EOF, which could pass for the end of a body.
func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return l.body.Read(p)
}

func (l *loan) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body == nil {
		return nil
	}
	err := l.body.Close()
	l.body = nil
	return err
}

// answered ends the loan of the request's body with its own end.
type answered struct {
	io.ReadCloser
	request io.Closer
}

func (a answered) Close() error {
	_ = a.request.Close() // the answer is there: what the request says is of no interest any more
	return a.ReadCloser.Close()
}
