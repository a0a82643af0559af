import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;

import org.eclipse.leshan.core.model.LwM2mModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.node.LwM2mNode;
import org.eclipse.leshan.core.node.LwM2mObject;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mPath;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.node.LwM2mResourceInstance;
import org.eclipse.leshan.core.node.LwM2mSingleResource;
import org.eclipse.leshan.core.node.ObjectLink;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Values of LwM2M as JSON and back: opaque ones are hexadecimal, object links "9:0". */
final class Values {

    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

    private final LwM2mModel model;

    Values(LwM2mModel model) {
        this.model = model;
    }

    /** The resource of the JSON value, typed as its object's model says. */
    LwM2mResource resource(int object, int resource, JsonNode value) {
        ResourceModel found = model.getResourceModel(object, resource);
        if (found == null) {
            throw new IllegalArgumentException("no model of /" + object + "/*/" + resource);
        }
        return LwM2mSingleResource.newResource(resource, typed(found.type, value), found.type);
    }

    /** The resources of {"3": …, "14": …}. */
    Collection<LwM2mResource> resources(int object, JsonNode values) {
        List<LwM2mResource> resources = new ArrayList<>();
        values.fields().forEachRemaining(
                field -> resources.add(resource(object, Integer.parseInt(field.getKey()), field.getValue())));
        return resources;
    }

    private static Object typed(ResourceModel.Type type, JsonNode value) {
        switch (type) {
        case BOOLEAN:
            return value.booleanValue();
        case INTEGER:
            return value.longValue();
        case FLOAT:
            return value.doubleValue();
        case OPAQUE:
            return HexFormat.of().parseHex(value.textValue());
        case OBJLNK:
            return ObjectLink.fromPath(new LwM2mPath("/" + value.textValue().replace(':', '/')).toString());
        default:
            return value.textValue();
        }
    }

    static JsonNode json(LwM2mNode node) {
        ObjectNode values = JSON.objectNode();
        if (node instanceof LwM2mObject) {
            ((LwM2mObject) node).getInstances().forEach((id, instance) -> values.set(id.toString(), json(instance)));
        } else if (node instanceof LwM2mObjectInstance) {
            ((LwM2mObjectInstance) node).getResources().forEach((id, of) -> values.set(id.toString(), json(of)));
        } else if (node instanceof LwM2mResource && ((LwM2mResource) node).isMultiInstances()) {
            ((LwM2mResource) node).getInstances().forEach((id, of) -> values.set(id.toString(), json(of)));
        } else if (node instanceof LwM2mResource) {
            return json(((LwM2mResource) node).getValue());
        } else if (node instanceof LwM2mResourceInstance) {
            return json(((LwM2mResourceInstance) node).getValue());
        }
        return values;
    }

    private static JsonNode json(Object value) {
        if (value instanceof Boolean) {
            return JSON.booleanNode((Boolean) value);
        } else if (value instanceof Long) {
            return JSON.numberNode((Long) value);
        } else if (value instanceof Double) {
            return JSON.numberNode((Double) value);
        } else if (value instanceof byte[]) {
            return JSON.textNode(HexFormat.of().formatHex((byte[]) value));
        } else if (value instanceof ObjectLink) {
            ObjectLink link = (ObjectLink) value;
            return JSON.textNode(link.getObjectId() + ":" + link.getObjectInstanceId());
        }
        return JSON.textNode(String.valueOf(value));
    }
}
