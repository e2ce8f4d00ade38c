package remote

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Spending is what a model was asked and what it cost.
type Spending struct {
	Requests     int64     `json:"requests"`
	Failed       int64     `json:"failed"` // of the requests: without an answer
	InputTokens  int64     `json:"input_tokens"`
	OutputTokens int64     `json:"output_tokens"`
	Cost         float64   `json:"cost"`
	Updated      time.Time `json:"updated"` // UTC
}

func (s Spending) plus(o Spending) Spending {
	s.Requests, s.Failed, s.InputTokens, s.OutputTokens, s.Cost = s.Requests+o.Requests, s.Failed+o.Failed, s.InputTokens+o.InputTokens, s.OutputTokens+o.OutputTokens, s.Cost+o.Cost
	if o.Updated.After(s.Updated) {
		s.Updated = o.Updated
	}
	return s
}

func (s Spending) minus(o Spending) Spending {
	o.Requests, o.Failed, o.InputTokens, o.OutputTokens, o.Cost, o.Updated = -o.Requests, -o.Failed, -o.InputTokens, -o.OutputTokens, -o.Cost, time.Time{}
	return s.plus(o)
}

// within reports whether s is no more than o in what is counted before it is known.
func (s Spending) within(o Spending) bool {
	return s.Requests <= o.Requests && s.InputTokens <= o.InputTokens && s.OutputTokens <= o.OutputTokens && s.Cost <= o.Cost
}

// aheadRequests is how many requests are written down before they are sent: not each has to wait for the disk, and a crash
// counts at most so many that never were.
const aheadRequests = 16

// meter counts what is spent. A request is counted before it is sent at the most that it may cost, and on the disk before
// that, so that neither requests side by side nor a crash lead over the limits.
type meter struct {
	mu      sync.Mutex
	spent   Spending      // of requests that have ended
	held    Spending      // of those under way, at most
	kept    Spending      // what the disk says; not less than both
	changed chan struct{} // closed when a request ends
	save    func(Spending) error
}

// take counts a request that may cost as much as worst. It waits while only requests under way stand against it.
func (m *meter) take(ctx context.Context, l Limits, worst Spending) error {
	for {
		m.mu.Lock()
		all := m.spent.plus(m.held).plus(worst)
		if err := l.exceeded(m.spent.plus(worst), m.spent); err != nil {
			m.mu.Unlock()
			return err
		}
		if l.exceeded(all, m.spent) == nil {
			defer m.mu.Unlock()
			return m.note(l, all, worst)
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// note holds worst, once the disk knows. The caller holds mu.
func (m *meter) note(l Limits, all, worst Spending) error {
	if m.save != nil && !all.within(m.kept) {
		ahead := all
		for range aheadRequests - 1 {
			next := ahead.plus(worst)
			if l.exceeded(next, next) != nil {
				break
			}
			ahead = next
		}
		if err := m.save(ahead); err != nil {
			return fmt.Errorf("keep what the model costs: %w", err)
		}
		m.kept = ahead
	}
	m.held = m.held.plus(worst)
	return nil
}

// settle counts what a request did cost instead of what it might have.
func (m *meter) settle(worst, real Spending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held, m.spent = m.held.minus(worst), m.spent.plus(real)
	if m.held.Requests == 0 {
		m.held = Spending{} // no rest of adding and taking away fractions
	}
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *meter) total() Spending {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spent
}

// close writes down exactly what was spent.
func (m *meter) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.save == nil || m.kept == m.spent {
		return nil
	}
	if err := m.save(m.spent); err != nil {
		return fmt.Errorf("keep what the model costs: %w", err)
	}
	m.kept = m.spent
	return nil
}

// exceeded returns ErrSpent where all would be more than the limits; spent is what the error tells.
func (l Limits) exceeded(all, spent Spending) error {
	switch {
	case l.MaxCost > 0 && all.Cost > l.MaxCost:
		return fmt.Errorf("%w: %.6g of max_cost = %g are spent, and the next request may cost %.2g; ALTER MODEL ... ADD VERSION with a larger max_cost goes on", ErrSpent, spent.Cost, l.MaxCost, all.Cost-spent.Cost)
	case l.MaxRequests > 0 && all.Requests > l.MaxRequests:
		return fmt.Errorf("%w: %d of max_requests = %d were made; ALTER MODEL ... ADD VERSION with a larger max_requests goes on", ErrSpent, spent.Requests, l.MaxRequests)
	}
	return nil
}

// price returns what tokens cost.
func (l Limits) price(s Spending) Spending {
	s.Cost = (float64(s.InputTokens)*l.InputPrice + float64(s.OutputTokens)*l.OutputPrice) / 1e6
	return s
}
