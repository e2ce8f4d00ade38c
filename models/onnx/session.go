package onnx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Names of the tensors of exported text models.
const (
	inputIDs  = "input_ids"
	inputMask = "attention_mask"
	inputType = "token_type_ids"
)

// Session is one opened model. It is safe for concurrent use; each Run uses one thread.
type Session struct {
	session *ort.DynamicAdvancedSession
	inputs  []string // by the names of the graph
	roles   []string // of the inputs, by the usual names
	output  string
	width   int64 // last dimension of the output, 0 when the model leaves it open
}

// Tensor is an output: values in rows of the last dimension.
type Tensor struct {
	Values []float32
	Shape  []int64 // [rows, width] or [rows, tokens, width]
}

// Open opens a model whose inputs are input_ids, attention_mask and perhaps token_type_ids, all int64, and takes the
// first of the wanted outputs that it has; named gives the names of inputs that are called otherwise. Load must have succeeded.
func Open(model []byte, named map[string]string, wanted ...string) (*Session, error) {
	inputs, outputs, err := ort.GetInputOutputInfoWithONNXData(model)
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	s := &Session{}
	roles, err := rolesOf(named)
	if err != nil {
		return nil, err
	}
	for _, in := range inputs {
		role, ok := roles[in.Name]
		if !ok {
			return nil, fmt.Errorf("read model: it asks for an input %q; known are %s", in.Name, strings.Join(slices.Sorted(maps.Keys(roles)), ", "))
		}
		if in.DataType != ort.TensorElementDataTypeInt64 {
			return nil, fmt.Errorf("read model: its input %q is %s, not int64", in.Name, in.DataType)
		}
		s.inputs, s.roles = append(s.inputs, in.Name), append(s.roles, role)
	}
	if !slices.Contains(s.roles, inputIDs) {
		return nil, fmt.Errorf("read model: it asks for no input %s", inputIDs)
	}
	for role, name := range named {
		if !slices.Contains(s.inputs, name) {
			return nil, fmt.Errorf("read model: it has no input %q for %s", name, role)
		}
	}
	for _, name := range wanted {
		at := slices.IndexFunc(outputs, func(o ort.InputOutputInfo) bool { return o.Name == name })
		if at < 0 {
			continue
		}
		if outputs[at].DataType != ort.TensorElementDataTypeFloat {
			return nil, fmt.Errorf("read model: its output %q is %s, not float", name, outputs[at].DataType)
		}
		s.output = name
		if d := outputs[at].Dimensions; len(d) > 0 {
			s.width = max(0, d[len(d)-1])
		}
		break
	}
	if s.output == "" {
		return nil, fmt.Errorf("read model: it has none of the outputs %v", wanted)
	}
	options, err := sessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if s.session, err = ort.NewDynamicAdvancedSessionWithONNXData(model, s.inputs, []string{s.output}, options); err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	return s, nil
}

// rolesOf tells by the name of an input what it is.
func rolesOf(named map[string]string) (map[string]string, error) {
	roles := map[string]string{}
	for _, role := range []string{inputIDs, inputMask, inputType} {
		name := cmp.Or(named[role], role)
		if other, ok := roles[name]; ok {
			return nil, fmt.Errorf("read model: the input %q is named for %s and %s", name, other, role)
		}
		roles[name] = role
	}
	for role := range named {
		if !slices.Contains([]string{inputIDs, inputMask, inputType}, role) {
			return nil, fmt.Errorf("read model: there is no input %q to name; those are %s, %s and %s", role, inputIDs, inputMask, inputType)
		}
	}
	return roles, nil
}

// sessionOptions makes one thread a session that does not spin: measured, it gives the most texts per core.
func sessionOptions() (*ort.SessionOptions, error) {
	o, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("make session options: %w", err)
	}
	err = errors.Join(o.SetIntraOpNumThreads(1), o.SetInterOpNumThreads(1), o.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set session options: %w", err), o.Destroy())
	}
	return o, nil
}

// Output returns the name of the output that Run gives.
func (s *Session) Output() string { return s.output }

// Width returns the last dimension of the output, 0 when the model leaves it open.
func (s *Session) Width() int { return int(s.width) }

// Run runs rows texts of width tokens each: ids padded with any valid id, mask 1 for a token and 0 for padding. Ids are
// not checked here. When ctx ends, the run does.
func (s *Session) Run(ctx context.Context, ids, mask []int64, rows, width int) (t Tensor, err error) {
	if err := ctx.Err(); err != nil {
		return Tensor{}, err
	}
	shape := ort.NewShape(int64(rows), int64(width))
	inputs := make([]ort.Value, 0, len(s.inputs))
	defer func() {
		for _, v := range inputs {
			err = errors.Join(err, v.Destroy())
		}
	}()
	for i, name := range s.inputs {
		data := ids
		switch s.roles[i] {
		case inputMask:
			data = mask
		case inputType:
			data = make([]int64, rows*width)
		}
		v, err := ort.NewTensor(shape, data)
		if err != nil {
			return Tensor{}, fmt.Errorf("make tensor %s: %w", name, err)
		}
		inputs = append(inputs, v)
	}
	return s.run(ctx, inputs)
}

func (s *Session) run(ctx context.Context, inputs []ort.Value) (t Tensor, err error) {
	options, err := ort.NewRunOptions()
	if err != nil {
		return Tensor{}, fmt.Errorf("make run options: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = options.Terminate() })
	outputs := []ort.Value{nil}
	err = s.session.RunWithOptions(inputs, outputs, options)
	if stop() {
		err = errors.Join(err, options.Destroy())
	}
	// A run that was terminated leaves its options to the terminating goroutine: freeing them here would race with it.
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if outputs[0] != nil {
		defer func() { err = errors.Join(err, outputs[0].Destroy()) }()
	}
	if err != nil {
		return Tensor{}, fmt.Errorf("run model: %w", err)
	}
	floats, ok := outputs[0].(*ort.Tensor[float32])
	if !ok {
		return Tensor{}, fmt.Errorf("run model: output %q is a %T", s.output, outputs[0])
	}
	return Tensor{Values: slices.Clone(floats.GetData()), Shape: slices.Clone([]int64(floats.GetShape()))}, nil
}

// Close frees the model. Runs in flight must have ended.
func (s *Session) Close() error { return s.session.Destroy() }
