package torch

import (
	"errors"
	"fmt"
	"strings"

	"tandem.dev/storage/torchscript"
)

var (
	// ErrShape says that the model's output does not fit the loss and the labels or targets.
	ErrShape = errors.New("the model and the data do not fit")
	// ErrModel says that the model itself failed, in forward, in backward or in being compiled.
	ErrModel = errors.New("the model failed")
	// ErrNotTorchScript says that the bytes are no TorchScript file.
	ErrNotTorchScript = torchscript.ErrFormat
	// ErrPeerLost says that a collective failed because another rank is gone.
	ErrPeerLost = errors.New("another rank was lost")
	// ErrTimeout says that a collective or the rendezvous took longer than the group's timeout.
	ErrTimeout = errors.New("another rank did not answer in time")
	// ErrAborted says that Group.Abort or Close ended the group.
	ErrAborted = errors.New("the process group was aborted")
	// ErrLabel says that a label is outside the model's classes.
	ErrLabel = errors.New("bad label")
	// ErrStateMismatch says that a state does not belong to this model or optimizer.
	ErrStateMismatch = errors.New("the state does not belong to this model")
	// ErrDevice says that the device cannot be used.
	ErrDevice = errors.New("the device cannot be used")
	// ErrTorn says that an update failed half way, for want of memory: the state is of no step until LoadState or SyncState.
	ErrTorn = errors.New("the training state is of no step: load a checkpoint or take another rank's state")
	// ErrRefused says that a model has what no model may have, such as an operator that reads files.
	ErrRefused = torchscript.ErrRefused
	// ErrClosed says that the object was used after Close.
	ErrClosed = errors.New("used after Close")
)

// Codes of tdm_code in shim.h.
const (
	codeOK = iota
	codeError
	codeShape
	codeModel
	codeNotTorchScript
	codePeerLost
	codeTimeout
	codeAborted
	codeLabel
	codeState
	codeDevice
	codeTorn
	codeOperator
)

// errorOf is the error for a status; nil for codeOK.
func errorOf(code int, text string) error {
	sentinels := map[int]error{
		codeShape: ErrShape, codeModel: ErrModel, codeNotTorchScript: ErrNotTorchScript, codePeerLost: ErrPeerLost,
		codeTimeout: ErrTimeout, codeAborted: ErrAborted, codeLabel: ErrLabel, codeState: ErrStateMismatch, codeDevice: ErrDevice,
		codeTorn: ErrTorn,
	}
	if code == codeOK {
		return nil
	}
	if code == codeOperator {
		operator, where, _ := strings.Cut(text, "\n")
		return &operatorError{operator, where}
	}
	if sentinel, ok := sentinels[code]; ok {
		return fmt.Errorf("%w: %s", sentinel, text)
	}
	return fmt.Errorf("libtorch: %s", text)
}
