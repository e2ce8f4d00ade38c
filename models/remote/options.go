package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds of models, as package models names its own.
const (
	classifier = "classifier"
	// Encoder is a model that gives embeddings.
	Encoder = "encoder"
	// Generator is a model whose answer is any text.
	Generator = "generator"
)

// OpenAI is the provider that there is: whoever speaks OpenAI's protocol.
const OpenAI = "openai"

// Limits of the options.
const (
	maxConcurrency    = 64
	maxBatch          = 512 // inputs of one request for embeddings: OpenAI takes 2,048, of which the answer would be 140 MB
	maxTimeout        = time.Hour
	maxRetriesAllowed = 20
	maxPromptBytes    = 64 << 10
	maxLabels         = 1000
	maxOutput         = 1 << 20 // tokens
)

// Defaults of the options.
const (
	defaultTimeout     = time.Minute
	defaultConcurrency = 4
	defaultRetries     = 4
	defaultBatch       = 64
	labelTokens        = 64 // of an answer that is to be a label
	textTokens         = 1024
)

// Spec is what is asked of whom: all that an answer depends on.
type Spec struct {
	Kind        string          `json:"kind"`
	Endpoint    string          `json:"endpoint"` // URL below which /chat/completions and /embeddings are
	Model       string          `json:"model"`
	Prompt      string          `json:"prompt,omitempty"`
	Labels      []string        `json:"labels,omitempty"`
	Temperature *float64        `json:"temperature,omitempty"` // nil: the server's
	MaxOutput   int             `json:"max_output_tokens,omitempty"`
	Logprobs    bool            `json:"logprobs,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"` // further fields of the request
}

// Limits is how a model is asked; no answer depends on it.
type Limits struct {
	KeyEnv            string        `json:"api_key_env,omitempty"` // name of the environment variable; "": no key
	Timeout           time.Duration `json:"timeout"`               // of one try, in nanoseconds
	Concurrency       int           `json:"concurrency"`
	RequestsPerMinute int           `json:"requests_per_minute,omitempty"`
	TokensPerMinute   int           `json:"tokens_per_minute,omitempty"`
	MaxRetries        int           `json:"max_retries"`
	BatchSize         int           `json:"batch_size,omitempty"` // of an encoder
	InputPrice        float64       `json:"input_price,omitempty"`
	OutputPrice       float64       `json:"output_price,omitempty"`
	MaxCost           float64       `json:"max_cost,omitempty"`     // 0: any
	MaxRequests       int64         `json:"max_requests,omitempty"` // 0: any
	Strict            bool          `json:"strict,omitempty"`       // on_error = 'error': a text without an answer fails the statement
}

// keyName is what a variable that holds a key may be called: no other secret of the server's environment can be sent away.
var keyName = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_]*_)?(API_KEY|api_key)$`)

// likeKey is what keys look like.
var likeKey = regexp.MustCompile(`(?i)\b(sk|gsk|xai|hf|pk)[-_][a-z0-9_-]{16,}|bearer\s+\S`)

// reader reads one option into its place.
type reader func(s *Spec, l *Limits, value string) error

var readers = map[string]reader{
	"provider": func(_ *Spec, _ *Limits, v string) error {
		if !strings.EqualFold(v, OpenAI) {
			return fmt.Errorf("known is %s", OpenAI)
		}
		return nil
	},
	"endpoint":          func(s *Spec, _ *Limits, v string) (err error) { s.Endpoint, err = endpointOf(v); return err },
	"model":             func(s *Spec, _ *Limits, v string) error { s.Model = v; return nil },
	"kind":              readKind,
	"task":              readKind,
	"prompt":            func(s *Spec, _ *Limits, v string) error { s.Prompt = v; return nil },
	"labels":            func(s *Spec, _ *Limits, v string) (err error) { s.Labels, err = labelsOf(v); return err },
	"temperature":       readTemperature,
	"max_output_tokens": func(s *Spec, _ *Limits, v string) (err error) { s.MaxOutput, err = whole(v, 1, maxOutput); return err },
	"logprobs":          func(s *Spec, _ *Limits, v string) (err error) { s.Logprobs, err = strconv.ParseBool(v); return err },
	"parameters":        func(s *Spec, _ *Limits, v string) (err error) { s.Parameters, err = parametersOf(v); return err },
	"api_key_env":       readKeyEnv,
	"timeout_s":         readTimeout,
	"concurrency": func(_ *Spec, l *Limits, v string) (err error) {
		l.Concurrency, err = whole(v, 1, maxConcurrency)
		return err
	},
	"requests_per_minute": func(_ *Spec, l *Limits, v string) (err error) {
		l.RequestsPerMinute, err = whole(v, 1, math.MaxInt32)
		return err
	},
	"tokens_per_minute": func(_ *Spec, l *Limits, v string) (err error) {
		l.TokensPerMinute, err = whole(v, 1, math.MaxInt32)
		return err
	},
	"max_retries": func(_ *Spec, l *Limits, v string) (err error) {
		l.MaxRetries, err = whole(v, 0, maxRetriesAllowed)
		return err
	},
	"batch_size": func(_ *Spec, l *Limits, v string) (err error) { l.BatchSize, err = whole(v, 1, maxBatch); return err },
	"price_per_million_input_tokens": func(_ *Spec, l *Limits, v string) (err error) {
		l.InputPrice, err = amount(v)
		return err
	},
	"price_per_million_output_tokens": func(_ *Spec, l *Limits, v string) (err error) {
		l.OutputPrice, err = amount(v)
		return err
	},
	"max_cost": func(_ *Spec, l *Limits, v string) (err error) { l.MaxCost, err = amount(v); return err },
	"max_requests": func(_ *Spec, l *Limits, v string) error {
		n, err := whole(v, 1, math.MaxInt32)
		l.MaxRequests = int64(n)
		return err
	},
	"on_error": func(_ *Spec, l *Limits, v string) error {
		if l.Strict = strings.EqualFold(v, "error"); !l.Strict && !strings.EqualFold(v, "null") {
			return errors.New("known are null and error")
		}
		return nil
	},
}

// Parse reads the options of CREATE MODEL; getenv nil is the environment. Errors wrap ErrOption, and show no value that looks like a key.
func Parse(options map[string]string, getenv func(string) string) (Spec, Limits, error) {
	s := Spec{Temperature: new(float64)}
	l := Limits{Timeout: defaultTimeout, Concurrency: defaultConcurrency, MaxRetries: defaultRetries}
	if getenv == nil {
		getenv = os.Getenv
	}
	names := slices.Sorted(maps.Keys(options))
	key := getenv(options["api_key_env"])
	for _, name := range names {
		if v := options[name]; likeKey.MatchString(v) || key != "" && strings.Contains(v, key) {
			return s, l, fmt.Errorf("%w: option %s holds a key; keys come from the environment only: say api_key_env = 'NAME'", ErrOption, name)
		}
	}
	for _, name := range names {
		read := readers[name]
		if read == nil {
			return s, l, unknownOption(name)
		}
		if err := read(&s, &l, options[name]); err != nil {
			return s, l, fmt.Errorf("%w: option %s = %.200q: %w", ErrOption, name, shown(options[name]), err)
		}
	}
	if err := complete(&s, &l, options); err != nil {
		return s, l, fmt.Errorf("%w: %w", ErrOption, err)
	}
	return s, l, nil
}

// confidential is what addresses may hold that is not for errors.
var confidential = regexp.MustCompile(`//[^/]*@|[?].*`)

func shown(value string) string {
	if strings.Contains(value, "://") {
		return confidential.ReplaceAllString(value, "...")
	}
	return value
}

func unknownOption(name string) error {
	for _, word := range []string{"key", "token", "secret", "auth", "password", "header"} {
		if strings.Contains(name, word) {
			return fmt.Errorf("%w: there is no option %q: keys come from the environment only; say api_key_env = 'NAME'", ErrOption, name)
		}
	}
	return fmt.Errorf("%w: a model of provider = '%s' has no option %q; known are %s", ErrOption, OpenAI, name, strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
}

// complete fills in what follows from the options, and refuses what does not go together.
func complete(s *Spec, l *Limits, options map[string]string) error {
	if s.Endpoint == "" || s.Model == "" {
		return errors.New("OPTIONS needs endpoint = 'https://host/v1' and model = 'name'")
	}
	if s.Kind == "" {
		if s.Kind = Generator; len(s.Labels) > 0 {
			s.Kind = classifier
		}
	}
	switch {
	case s.Kind == classifier && len(s.Labels) == 0:
		return errors.New("a classifier needs labels = 'a,b'")
	case s.Kind != classifier && len(s.Labels) > 0:
		return fmt.Errorf("labels are for a classifier, and kind is %s", s.Kind)
	case len(s.Prompt) > maxPromptBytes:
		return fmt.Errorf("the prompt has %d bytes; at most %d", len(s.Prompt), maxPromptBytes)
	case l.MaxCost > 0 && l.InputPrice+l.OutputPrice == 0:
		return errors.New("max_cost needs price_per_million_input_tokens and price_per_million_output_tokens")
	}
	if s.Kind == Encoder {
		for _, name := range []string{"prompt", "temperature", "max_output_tokens", "logprobs"} {
			if _, ok := options[name]; ok {
				return fmt.Errorf("option %s is not for an encoder", name)
			}
		}
		s.Temperature = nil
		if l.BatchSize == 0 {
			l.BatchSize = defaultBatch
		}
		return nil
	}
	if l.BatchSize > 0 {
		return errors.New("batch_size is for an encoder: what is asked of a text would depend on its neighbours; see concurrency")
	}
	return s.fillOutput()
}

// fillOutput bounds the answer: what it may cost must be known before it is asked for.
func (s *Spec) fillOutput() error {
	var further map[string]any
	if s.Parameters != nil {
		if err := json.Unmarshal(s.Parameters, &further); err != nil {
			return fmt.Errorf("option parameters: %w", err)
		}
	}
	if n, ok := further[newerMax]; ok {
		f, isNumber := n.(float64)
		if !isNumber || f < 1 || f > maxOutput || f != math.Trunc(f) {
			return fmt.Errorf("option parameters: %s = %v: want a whole number from 1 to %d", newerMax, n, maxOutput)
		}
		s.MaxOutput = int(f)
	}
	if s.MaxOutput == 0 {
		if s.MaxOutput = textTokens; len(s.Labels) > 0 {
			s.MaxOutput = labelTokens
		}
	}
	return nil
}

func readKind(s *Spec, _ *Limits, v string) error {
	switch strings.ToLower(v) {
	case classifier, "text-classification":
		s.Kind = classifier
	case Encoder, "feature-extraction":
		s.Kind = Encoder
	case Generator, "text-generation":
		s.Kind = Generator
	default:
		return fmt.Errorf("known are %s, %s and %s", classifier, Encoder, Generator)
	}
	return nil
}

func readTemperature(s *Spec, _ *Limits, v string) error {
	if strings.EqualFold(v, "default") { // some models take none
		s.Temperature = nil
		return nil
	}
	t, err := strconv.ParseFloat(v, 64)
	if err != nil || !(t >= 0 && t <= 2) {
		return errors.New("want a number from 0 to 2, or 'default'")
	}
	s.Temperature = &t
	return nil
}

func readTimeout(_ *Spec, l *Limits, v string) error {
	seconds, err := amount(v)
	if l.Timeout = time.Duration(seconds * float64(time.Second)); err != nil || l.Timeout <= 0 || l.Timeout > maxTimeout {
		return fmt.Errorf("want seconds, more than 0 and at most %g", maxTimeout.Seconds())
	}
	return nil
}

func readKeyEnv(_ *Spec, l *Limits, v string) error {
	if !keyName.MatchString(v) {
		return errors.New("want the name of a variable of the server's environment that ends in API_KEY, and not its value")
	}
	l.KeyEnv = v
	return nil
}

// endpointOf reads an address. What may be confidential in one is refused, and what makes two of the same.
func endpointOf(v string) (string, error) {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || defaultPorts[u.Scheme] == "" {
		return "", errors.New("want https://host/v1, or http:// for a server on this machine")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", errors.New("want an address without user, ? and #")
	}
	u.Host = strings.ToLower(u.Host)
	for _, tail := range []string{"/", chatPath, embeddingsPath} {
		u.Path = strings.TrimSuffix(u.Path, tail)
	}
	if u.Path != "" && (path.Clean(u.Path) != u.Path || u.RawPath != "") {
		return "", errors.New("want a plain path")
	}
	return u.String(), nil
}

func labelsOf(v string) ([]string, error) {
	var list []string
	if strings.HasPrefix(strings.TrimSpace(v), "[") {
		if err := json.Unmarshal([]byte(v), &list); err != nil {
			return nil, fmt.Errorf("want a JSON array of texts: %w", err)
		}
	} else {
		list = strings.Split(v, ",")
	}
	if len(list) > maxLabels {
		return nil, fmt.Errorf("%d labels; at most %d", len(list), maxLabels)
	}
	seen := map[string]bool{}
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
		plain := plainLabel(list[i])
		if plain == "" || seen[plain] {
			return nil, fmt.Errorf("label %d, %q, is empty or cannot be told from another", i, list[i])
		}
		seen[plain] = true
	}
	return list, nil
}

// ours are fields of the request that are not for parameters.
var ours = []string{"model", "messages", "input", "stream", "n", "temperature", "max_tokens", "logprobs", "encoding_format", "tools", "functions"}

// newerMax is what newer models of OpenAI want in the place of max_tokens.
const newerMax = "max_completion_tokens"

func parametersOf(v string) (json.RawMessage, error) {
	var fields map[string]any
	if err := json.Unmarshal([]byte(v), &fields); err != nil {
		return nil, fmt.Errorf("want a JSON object: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(ours, name) {
			return nil, fmt.Errorf("the field %q is not for parameters", name)
		}
	}
	return json.Marshal(fields)
}

func whole(v string, least, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("want a whole number from %d to %d", least, most)
	}
	return n, nil
}

func amount(v string) (float64, error) {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= 0) || math.IsInf(f, 0) {
		return 0, errors.New("want a number, not negative")
	}
	return f, nil
}

// Source names the model for people.
func (s Spec) Source() string { return OpenAI + ":" + s.Model + " at " + s.Endpoint }
