# A Rack app for Puma 5.6 and Rack 2.2 (Debian's `puma` and `ruby`), no other gem:
#
#   thrust puma -C examples/puma/puma.rb
#
#   /hello       "hello from PID"
#   /stream?n=N  N lines, chunked, a tenth of a second apart
#   /upload      reads the body as it arrives: "LENGTH CRC32"
#   /slow?s=S    answers after S seconds
#   /headers     what the app was sent, one field per line
#   /ws          WebSocket echo over a hijacked socket

require "digest/sha1"
require "rack"
require "zlib"

# A body that Puma sends piece by piece.
class Lines
  def initialize(count)
    @count = count
  end

  def each
    @count.times do |number|
      sleep 0.1 if number > 0
      yield "line #{number}\n"
    end
  end
end

# Frames of RFC 6455, as much as an echo needs: no extensions, no fragments.
class WebSocketEcho
  GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
  TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xa

  def initialize(socket, key)
    @socket = socket
    @accept = [Digest::SHA1.digest(key + GUID)].pack("m0")
  end

  def run
    @socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
                  "Sec-WebSocket-Accept: #{@accept}\r\n\r\n" + frame(TEXT, "welcome"))
    while (opcode, payload = read_frame)
      case opcode
      when TEXT, BINARY then @socket.write(frame(opcode, payload))
      when PING then @socket.write(frame(PONG, payload))
      when CLOSE
        @socket.write(frame(CLOSE, payload))
        break
      end
    end
  rescue IOError, SystemCallError
    # The client left without a word.
  ensure
    @socket.close
  end

  private

  def frame(opcode, payload)
    payload = payload.b
    length = payload.bytesize
    header = [0x80 | opcode].pack("C")
    header << if length < 126 then [length].pack("C")
              elsif length < 65_536 then [126, length].pack("Cn")
              else [127, length].pack("CQ>")
              end
    header + payload
  end

  def read_frame
    first, second = exactly(2)&.unpack("CC")
    return unless second

    length = second & 0x7f
    length = exactly(2).unpack1("n") if length == 126
    length = exactly(8).unpack1("Q>") if length == 127
    mask = (second & 0x80).zero? ? nil : exactly(4).bytes
    payload = length.zero? ? "".b : exactly(length)
    payload = payload.bytes.each_with_index.map { |byte, place| byte ^ mask[place % 4] }.pack("C*") if mask
    [first & 0x0f, payload]
  end

  # nil at the end of the stream.
  def exactly(length)
    bytes = @socket.read(length)
    bytes if bytes&.bytesize == length
  end
end

module App
  TEXT = { "Content-Type" => "text/plain" }.freeze

  def self.call(env)
    query = Rack::Utils.parse_query(env["QUERY_STRING"])
    case env["PATH_INFO"]
    when "/hello" then [200, TEXT.dup, ["hello from #{Process.pid}\n"]]
    when "/stream" then [200, TEXT.dup, Lines.new(query.fetch("n", 3).to_i)]
    when "/upload" then upload(env["rack.input"])
    when "/slow"
      sleep query.fetch("s", 1).to_f
      [200, TEXT.dup, ["slow\n"]]
    when "/headers" then headers(env)
    when "/ws" then web_socket(env)
    else [404, TEXT.dup, ["no such path\n"]]
    end
  end

  def self.upload(input)
    length, crc = 0, 0
    while (piece = input.read(65_536))
      length += piece.bytesize
      crc = Zlib.crc32(piece, crc)
    end
    [200, TEXT.dup, [format("%d %08x", length, crc)]]
  end

  def self.headers(env)
    fields = env.select { |name, _| name.start_with?("HTTP_") }.sort
    [200, TEXT.dup, fields.map { |name, value| "#{name.delete_prefix("HTTP_").tr("_", "-").downcase}: #{value}\n" }]
  end

  def self.web_socket(env)
    key = env["HTTP_SEC_WEBSOCKET_KEY"]
    return [426, TEXT.merge("Upgrade" => "websocket"), ["upgrade\n"]] unless key

    socket = env["rack.hijack"].call
    Thread.new { WebSocketEcho.new(socket, key).run }
    [-1, {}, []] # Puma looks no further at a hijacked socket.
  end
end

run App
