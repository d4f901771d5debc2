package rpc

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ServiceName is what /health calls this program.
const ServiceName = "llm-memory-graph"

// Bounds of the metrics port.
const (
	httpHeaderTimeout = 5 * time.Second
	httpReadTimeout   = 10 * time.Second
	httpWriteTimeout  = 30 * time.Second
	httpIdleTimeout   = time.Minute
	maxHTTPHeader     = 16 << 10
	// More connections wait until one ends, at the latest after the times above.
	maxHTTPConnections = 256
)

// MetricsServer is the HTTP server of the metrics port: `/metrics`, `/health`, `/ready` and a page with links. It tells
// numbers and states, never content, arguments or environment.
func (s *Server) MetricsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/metrics", s.metrics.Handler())
	mux.HandleFunc("/health", s.serveHealth)
	mux.HandleFunc("/ready", s.serveReady)
	mux.HandleFunc("/{$}", servePage)
	return &http.Server{
		Handler: readOnly(mux), ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpReadTimeout,
		WriteTimeout: httpWriteTimeout, IdleTimeout: httpIdleTimeout, MaxHeaderBytes: maxHTTPHeader,
		ErrorLog: s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// ServeMetrics answers on lis until the given server is shut down; then it returns nil.
func ServeMetrics(server *http.Server, lis net.Listener) error {
	if err := server.Serve(newLimitListener(lis, maxHTTPConnections, 0, func(int) {}, nil)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// readOnly lets only GET and HEAD through.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// healthBody keeps the order of the members that dashboards know.
type healthBody struct {
	Status  string `json:"status"`
	Service string `json:"service"`
	Version string `json:"version"`
	Reason  string `json:"reason,omitempty"`
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	s.serveState(w, "healthy", "unhealthy")
}

func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	s.serveState(w, "ready", "not ready")
}

func (s *Server) serveState(w http.ResponseWriter, good, bad string) {
	body, code := healthBody{Status: good, Service: ServiceName, Version: s.cfg.Version}, http.StatusOK
	if err := s.serving(); err != nil {
		body.Status, body.Reason, code = bad, err.Error(), http.StatusServiceUnavailable
	}
	if code == http.StatusOK && s.cfg.Limit != nil {
		if err := s.cfg.Limit(); err != nil {
			body.Reason = err.Error()
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(text) // a client that has gone does not read it
}

const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>LLM Memory Graph</title></head>
<body>
<h1>LLM Memory Graph</h1>
<ul>
<li><a href="/metrics">/metrics</a> for Prometheus</li>
<li><a href="/health">/health</a>: does this node serve?</li>
<li><a href="/ready">/ready</a>: may it be sent calls?</li>
</ul>
</body>
</html>
`

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	_, _ = w.Write([]byte(page)) // a client that has gone does not read it
}
