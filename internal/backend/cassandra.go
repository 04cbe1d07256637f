package backend

import (
	"context"
	"testing"
	"time"
)

// Cassandra returns a Cassandra cluster of one that takes CQL from anybody. What it has acknowledged
// outlives Kill and Restart. Keyspaces want replication factor 1.
func Cassandra(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	return serve(tb, kind{
		name:     "cassandra",
		ports:    usual(2),
		patience: 5 * time.Minute,
		find:     jars("cassandra"),
		prepare:  configureCassandra,
		command:  cassandraCommand,
		ready: func(ctx context.Context, p *place) error {
			// OPTIONS of version 4 of the native protocol; the answer is of type SUPPORTED.
			return probeTCP(ctx, p.addr(0), "\x04\x00\x00\x00\x05\x00\x00\x00\x00", "\x84\x00\x00\x00\x06")
		},
	}, opts)
}

func configureCassandra(_ context.Context, p *place) error {
	if err := writeConfig(p, "cassandra.yaml",
		"cluster_name: test",
		"num_tokens: 1",
		"partitioner: org.apache.cassandra.dht.Murmur3Partitioner",
		"endpoint_snitch: SimpleSnitch",
		"listen_address: 127.0.0.1",
		"rpc_address: 127.0.0.1",
		"native_transport_port: "+p.port(0),
		"storage_port: "+p.port(1),
		"seed_provider:",
		"  - class_name: org.apache.cassandra.locator.SimpleSeedProvider",
		`    parameters: [{seeds: "`+p.addr(1)+`"}]`,
		// Batch answers a write once it is in the log; the usual period would lose a second's writes to Kill.
		"commitlog_sync: batch",
		"commitlog_segment_size: 4MiB",
		"auto_snapshot: false",
		// Those of a server that has its machine for itself are 2 to 10 seconds.
		"read_request_timeout: 30s",
		"range_request_timeout: 30s",
		"write_request_timeout: 30s",
		"cas_contention_timeout: 30s",
		"request_timeout: 30s",
		"commitlog_directory: "+p.dir+"/commitlog",
		"data_file_directories: ["+p.dir+"/data]",
		"saved_caches_directory: "+p.dir+"/caches",
		"hints_directory: "+p.dir+"/hints",
	); err != nil {
		return err
	}
	return writeConfig(p, "logback.xml",
		`<configuration>`,
		`<appender name="out" class="ch.qos.logback.core.ConsoleAppender">`,
		`<encoder><pattern>%level %logger{0} %msg%n</pattern></encoder>`,
		`</appender>`,
		`<root level="WARN"><appender-ref ref="out"/></root>`,
		`</configuration>`)
}

func cassandraCommand(p *place) []string {
	args := []string{
		"-Dcassandra.config=file://" + p.dir + "/cassandra.yaml",
		"-Dcassandra.storagedir=" + p.dir,
		"-Dlogback.configurationFile=" + p.dir + "/logback.xml",
		"-Dcassandra-foreground=yes",
		// There is no other node whose gossip could change anything.
		"-Dcassandra.skip_wait_for_gossip_to_settle=0",
		"-Dcassandra.ring_delay_ms=0",
		"-Dio.netty.tryReflectionSetAccessible=true",
		"-Djdk.attach.allowAttachSelf=true",
	}
	// What Cassandra reaches into, and Java from 17 on keeps closed unless told.
	for _, pkg := range []string{
		"java.base/jdk.internal.misc", "java.base/java.lang.ref", "java.management.rmi/com.sun.jmx.remote.internal.rmi",
		"java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server", "java.sql/java.sql", "jdk.unsupported/sun.misc",
	} {
		args = append(args, "--add-exports", pkg+"=ALL-UNNAMED")
	}
	for _, pkg := range []string{
		"java.base/java.io", "java.base/java.lang", "java.base/java.lang.module", "java.base/java.lang.reflect",
		"java.base/java.util", "java.base/jdk.internal.loader", "java.base/jdk.internal.math",
		"java.base/jdk.internal.module", "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect",
		"java.base/jdk.internal.util.jar", "java.base/sun.nio.ch", "jdk.management/com.sun.management.internal",
	} {
		args = append(args, "--add-opens", pkg+"=ALL-UNNAMED")
	}
	return jvm(p, "cassandra", append(args, "org.apache.cassandra.service.CassandraDaemon")...)
}
