package backend

import "testing"

// OpenSearch returns an OpenSearch cluster of one without the security plugin, which also speaks the API
// that Elasticsearch 7 had. Its indices outlive Kill and Restart.
func OpenSearch(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, searchEngine("opensearch", "opensearch", "org.codelibs.opensearch.runner.OpenSearchRunner"), opts)
}
