package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

const (
	chatPath       = "/chat/completions"
	embeddingsPath = "/embeddings"
)

// Limits of what is sent and comes back, in bytes.
const (
	maxTextBytes   = 512 << 10 // of one text: about the longest context that there is
	maxChatBytes   = 4 << 20   // of an answer: 64 tokens have 10 KB with their probabilities
	maxVectorBytes = 64 << 20  // of the embeddings of a request: 512 of 3,072 numbers have 35 MB
)

// Complete asks the model about each text, and tells answer or fault of each: from several goroutines. What was answered before
// an error that ends all is told, too.
func (c *Client) Complete(ctx context.Context, texts []string, result func(i int, a Answer, f *Fault)) error {
	return c.each(ctx, len(texts), func(ctx context.Context, i int) error {
		a, err := c.complete(ctx, texts[i])
		if f, ok := err.(*Fault); ok || err == nil {
			result(i, a, f)
		}
		return err
	}, func(i int, f *Fault) { result(i, Answer{}, f) })
}

func (c *Client) complete(ctx context.Context, text string) (Answer, error) {
	if len(text) > maxTextBytes {
		return Answer{}, fault("the text has %d bytes; at most %d are sent", len(text), maxTextBytes)
	}
	fields := map[string]any{}
	if c.spec.Parameters != nil {
		if err := json.Unmarshal(c.spec.Parameters, &fields); err != nil {
			return Answer{}, fmt.Errorf("read parameters: %w", err)
		}
	}
	fields["model"], fields["messages"] = c.spec.Model, c.spec.messages(text)
	if _, newer := fields[newerMax]; !newer {
		fields["max_tokens"] = c.spec.MaxOutput
	}
	if c.spec.Temperature != nil {
		fields["temperature"] = *c.spec.Temperature
	}
	if c.spec.Logprobs {
		fields["logprobs"] = true
	}
	body, err := json.Marshal(fields) // in the order of their names
	if err != nil {
		return Answer{}, fmt.Errorf("write a request: %w", err)
	}
	data, err := c.ask(ctx, chatPath, body, c.spec.MaxOutput, maxChatBytes)
	if err != nil {
		return Answer{}, err
	}
	a, err := c.spec.read(data)
	if err == nil && c.repeatsKey(a.Text) {
		return Answer{}, fault("the answer repeats the key, and cannot be shown")
	}
	return a, err
}

// repeatsKey looks into a text that JSON had spelled in another way.
func (c *Client) repeatsKey(text string) bool {
	key, err := c.key(c.pace.Load().limits)
	return err == nil && key != "" && strings.Contains(text, key)
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// messages puts prompt and text together: a prompt with {text} is all that is said, one without stands before the text.
func (s *Spec) messages(text string) []message {
	prompt := s.Prompt
	if prompt == "" && len(s.Labels) > 0 {
		prompt = "Classify the text of the user. Answer with exactly one of these labels and nothing else: {labels}"
	}
	// In one go, so that a text which holds {labels} is left as it is.
	filled := strings.NewReplacer("{text}", text, "{labels}", strings.Join(s.Labels, ", ")).Replace(prompt)
	switch {
	case prompt == "":
		return []message{{"user", text}}
	case strings.Contains(prompt, "{text}"):
		return []message{{"user", filled}}
	}
	return []message{{"system", filled}, {"user", text}}
}

// completion is the part of an answer that is read.
type completion struct {
	Choices []struct {
		Finish  string `json:"finish_reason"`
		Message *struct {
			Content *string `json:"content"`
			Refusal string  `json:"refusal"`
		} `json:"message"`
		Logprobs *struct {
			Content []struct {
				Logprob float64 `json:"logprob"`
			} `json:"content"`
		} `json:"logprobs"`
	} `json:"choices"`
}

// read makes an answer of what the server sent.
func (s *Spec) read(data []byte) (Answer, error) {
	var c completion
	if err := json.Unmarshal(data, &c); err != nil {
		return Answer{}, garbage(data)
	}
	if len(c.Choices) != 1 || c.Choices[0].Message == nil {
		return Answer{}, fault("the answer has %d choices, and not one with a message", len(c.Choices))
	}
	choice := c.Choices[0]
	switch m := choice.Message; {
	case m.Refusal != "", choice.Finish == "content_filter":
		return Answer{}, none("the model refuses to answer")
	case m.Content == nil:
		return Answer{}, none("the answer has no text")
	case choice.Finish == "length" && len(s.Labels) == 0:
		return Answer{}, none("the answer was cut at max_output_tokens = %d", s.MaxOutput)
	}
	a := Answer{Text: strings.TrimSpace(*choice.Message.Content)}
	if a.Text == "" {
		return Answer{}, none("the answer is empty")
	}
	if len(s.Labels) > 0 {
		label, ok := s.label(a.Text)
		if !ok && choice.Finish == "length" {
			return Answer{}, none("the answer is none of the labels, and was cut at max_output_tokens = %d", s.MaxOutput)
		}
		if !ok {
			return Answer{}, none("the answer is none of the labels: %.60q", a.Text)
		}
		a.Text = label
	}
	if l := choice.Logprobs; s.Logprobs && l != nil && len(l.Content) > 0 {
		sum := 0.0
		for _, token := range l.Content {
			sum += token.Logprob
		}
		if p := math.Exp(sum); p >= 0 && p <= 1 {
			a.Score = &p
		}
	}
	return a, nil
}

func none(format string, args ...any) *Fault {
	return &Fault{err: fmt.Errorf(format, args...), answer: true}
}

func garbage(data []byte) *Fault {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")) {
		return fault("the answer is a page of HTML and no JSON; check endpoint")
	}
	return fault("the answer is not the JSON that OpenAI's protocol has, or not all of it")
}

// label finds the label that an answer means: case, quotes and marks around it do not matter.
func (s *Spec) label(answer string) (string, bool) {
	plain := plainLabel(answer)
	for _, l := range s.Labels {
		if plainLabel(l) == plain {
			return l, true
		}
	}
	return "", false
}

func plainLabel(s string) string {
	if trimmed := strings.Trim(s, " \t\r\n\"'`“”‘’*.,:;!"); trimmed != "" {
		s = trimmed
	}
	return strings.ToLower(strings.TrimSpace(s))
}

// Embed asks for the embedding of each text, of so many numbers (0: any), and tells vector or fault of each as Complete does.
func (c *Client) Embed(ctx context.Context, texts []string, dimension int, result func(i int, v []float32, f *Fault)) error {
	size := max(1, c.pace.Load().limits.BatchSize)
	share := func(k int) (from, to int) { return k * size, min((k+1)*size, len(texts)) }
	return c.each(ctx, (len(texts)+size-1)/size, func(ctx context.Context, k int) error {
		from, to := share(k)
		return c.embed(ctx, texts[from:to], dimension, func(i int, v []float32, f *Fault) { result(from+i, v, f) })
	}, func(k int, f *Fault) {
		for i, to := share(k); i < to; i++ {
			result(i, nil, f)
		}
	})
}

// embed asks for some texts at once. A server that refuses them is asked for each half, because one of them may be the cause.
func (c *Client) embed(ctx context.Context, texts []string, dimension int, result func(i int, v []float32, f *Fault)) error {
	vectors, err := c.vectors(ctx, texts, dimension)
	f, failed := err.(*Fault)
	if err != nil && !failed {
		return err
	}
	if failed && f.reject && len(texts) > 1 {
		half := len(texts) / 2
		first := c.embed(ctx, texts[:half], dimension, result)
		if _, ok := first.(*Fault); first != nil && !ok {
			return first
		}
		return c.embed(ctx, texts[half:], dimension, func(i int, v []float32, f *Fault) { result(half+i, v, f) })
	}
	for i := range texts {
		if failed {
			result(i, nil, f)
			continue
		}
		result(i, vectors[i], nil)
	}
	return err
}

func (c *Client) vectors(ctx context.Context, texts []string, dimension int) ([][]float32, error) {
	for _, t := range texts {
		if len(t) > maxTextBytes {
			return nil, &Fault{err: fmt.Errorf("the text has %d bytes; at most %d are sent", len(t), maxTextBytes), reject: true}
		}
	}
	fields := map[string]any{}
	if c.spec.Parameters != nil {
		if err := json.Unmarshal(c.spec.Parameters, &fields); err != nil {
			return nil, fmt.Errorf("read parameters: %w", err)
		}
	}
	fields["model"], fields["input"] = c.spec.Model, texts
	body, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("write a request: %w", err)
	}
	data, err := c.ask(ctx, embeddingsPath, body, 0, maxVectorBytes)
	if err != nil {
		return nil, err
	}
	var said struct {
		Data []struct {
			Index     int       `json:"index"`
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return nil, garbage(data)
	}
	if len(said.Data) != len(texts) {
		return nil, fault("the server gave %d embeddings for %d texts", len(said.Data), len(texts))
	}
	vectors := make([][]float32, len(texts))
	for _, d := range said.Data {
		switch {
		case d.Index < 0 || d.Index >= len(vectors) || vectors[d.Index] != nil:
			return nil, fault("the server gave an embedding for text %d of %d, or two", d.Index, len(texts))
		case len(d.Embedding) == 0, dimension > 0 && len(d.Embedding) != dimension:
			return nil, fault("the server gave an embedding of %d numbers, the model has %d", len(d.Embedding), dimension)
		}
		vectors[d.Index] = d.Embedding
	}
	return vectors, nil
}
