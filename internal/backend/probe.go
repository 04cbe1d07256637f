package backend

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// A server under load may accept a connection and never answer it; the next try should not wait for that.
const probeTimeout = 2 * time.Second

// probeTCP sends a question, which may be empty, and wants an answer that begins with prefix.
func probeTCP(ctx context.Context, addr, question, prefix string) error {
	answer, err := ask(ctx, addr, question, len(prefix))
	if err != nil {
		return err
	}
	if string(answer) != prefix {
		return fmt.Errorf("answered %q", answer)
	}
	return nil
}

// ask sends a question and returns the first n bytes of the answer.
func ask(ctx context.Context, addr, question string, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // nothing was promised to the other side
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(conn, question); err != nil {
		return nil, err
	}
	answer := make([]byte, n)
	_, err = io.ReadFull(conn, answer)
	return answer, err
}

// probeHTTP wants status 200 and a body that contains text.
func probeHTTP(ctx context.Context, url, text string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// Idle connections have goroutines, which the caller's goleak would find.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(text)) {
		return fmt.Errorf("answered %s: %.200s", resp.Status, body)
	}
	return nil
}

func httpURL(s *Server) { s.URL = "http://" + s.Addr }
