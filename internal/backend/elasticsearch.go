package backend

import "testing"

// Elasticsearch returns an Elasticsearch cluster of one: the server alone, without scripts, ingestion and
// what else its modules add. Its indices outlive Kill and Restart.
func Elasticsearch(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, searchEngine("elasticsearch", "es", "org.codelibs.elasticsearch.runner.ElasticsearchClusterRunner",
		"-moduleTypes", "org.elasticsearch.transport.Netty4Plugin"), opts)
}
