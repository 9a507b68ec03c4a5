# Varnish as the cache: what it stores compressed it need not compress again; a request without Accept-Encoding would
# then cost it a decompression, so that only the rows that ask for gzip have it.
# {upstream} is filled in by contender.rs.
vcl 4.1;

backend app {
    .host = "127.0.0.1";
    .port = "{upstream}";
}

sub vcl_backend_response {
    set beresp.do_gzip = (bereq.url == "/hit-gzip" || bereq.url == "/page");
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "hit";
    } else {
        set resp.http.X-Cache = "miss";
    }
}
